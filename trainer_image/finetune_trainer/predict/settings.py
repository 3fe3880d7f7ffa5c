"""How answers are generated: LLaMA-Factory's GeneratingArguments as transformers' GenerationConfig."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import GenerationConfig

from finetune_trainer.config import TrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Where an answer ends, if no token ends it. One of the two is said."""

    answer: int | None = None
    """Most tokens of the answer."""
    whole: int | None = None
    """Most tokens of prompt and answer."""

    def room(self, prompt: int) -> int:
        """Most tokens of the answer to a prompt of so many tokens."""
        if self.answer is not None:
            return self.answer
        assert self.whole is not None
        return max(0, self.whole - prompt)


def limits(cfg: TrainConfig) -> Limits:
    """By max_new_tokens, or where it is not said (or 0 or -1) by generation_max_length or max_length.

    LLaMA-Factory goes by max_length only where max_new_tokens is 0 or -1, and by generation_max_length only while it
    trains; rules refuse them beside max_new_tokens.
    """
    generating, whole = cfg.generating, cfg.training.generation_max_length
    said = generating.model_fields_set
    if "max_new_tokens" not in said:
        whole = whole or (generating.max_length if "max_length" in said else None)
    elif generating.max_new_tokens <= 0:
        whole = whole or generating.max_length
    return Limits(whole=whole) if whole is not None else Limits(answer=generating.max_new_tokens)


def settings(cfg: TrainConfig, *, base: GenerationConfig, stop_ids: Sequence[int], pad_id: int) -> GenerationConfig:
    """The run's settings; what LLaMA-Factory has no key for is as the model's own `base` has it.

    Args:
        cfg: a checked configuration.
        base: the model's generation_config, which is left as it is.
        stop_ids: tokens that end an answer.
        pad_id: fills up what has ended.
    """
    generating, config = cfg.generating, copy.deepcopy(base)
    beams = cfg.data.eval_num_beams or cfg.training.generation_num_beams or generating.num_beams
    unset = {"temperature": 1.0, "top_p": 1.0, "top_k": 50}  # what transformers takes for not said
    drawn = {name: getattr(generating, name) for name in unset} if generating.do_sample else unset
    config.update(  # type: ignore[no-untyped-call]
        do_sample=generating.do_sample,
        **drawn,
        num_beams=beams,
        repetition_penalty=generating.repetition_penalty,
        length_penalty=generating.length_penalty,
        max_length=None,
        max_new_tokens=None,
        min_length=0,
        eos_token_id=list(stop_ids),
        pad_token_id=pad_id,
        use_cache=True,
    )
    return config
