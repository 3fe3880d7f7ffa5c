"""Scores of whole answers, from a reward model here or a server elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from transformers import PreTrainedTokenizerBase

from finetune_trainer.collate import Batch
from finetune_trainer.config import TrainConfig
from finetune_trainer.losses.reward import last_values
from finetune_trainer.model.reward import RewardModel, reward_model
from finetune_trainer.reward_server import RewardServer
from finetune_trainer.stages.parts import Parts


class Scorer(Protocol):
    """Scores prompts with their answers."""

    def prepare(self, accelerator: Any) -> None:  # noqa: ANN401 - accelerate.Accelerator, untyped
        """Place what is needed, once the trained model is placed."""
        ...

    def __call__(self, rows: Batch) -> list[float]:
        """`input_ids` and `attention_mask`, padded on the right, to one score for each row."""
        ...


def scorer(cfg: TrainConfig, parts: Parts) -> Scorer:
    """What reward_model and reward_model_type ask for.

    Raises:
        ModelNotFound: the reward model is not there.
        RunError: it has no value head, or one that does not fit.
    """
    if cfg.finetuning.reward_model_type == "api":
        assert cfg.finetuning.reward_model is not None, "a rule of the configuration"
        return ByServer(RewardServer(cfg.finetuning.reward_model), parts.tokenizer)
    return ByModel(reward_model(cfg, parts.tokenizer, parts.model, device=parts.device))


class ByModel:
    """The value at the last token."""

    def __init__(self, model: RewardModel) -> None:
        self._model = model

    def prepare(self, accelerator: Any) -> None:  # noqa: ANN401 - as in Scorer
        """See `Scorer.prepare`."""
        self._model.prepare(accelerator)

    def __call__(self, rows: Batch) -> list[float]:
        """See `Scorer`."""
        values = self._model.values(rows["input_ids"], rows["attention_mask"])
        scores: list[float] = last_values(values, rows["attention_mask"]).tolist()
        return scores


class ByServer:
    """What a server says to the text, special tokens included."""

    def __init__(self, server: RewardServer, tokenizer: PreTrainedTokenizerBase) -> None:
        self._server = server
        self._tokenizer = tokenizer

    def prepare(self, accelerator: Any) -> None:  # noqa: ANN401 - as in Scorer
        """Nothing to place."""

    def __call__(self, rows: Batch) -> list[float]:
        """See `Scorer`.

        Raises:
            RewardServerDown, RewardServerWrong: on this rank.
        """
        return self._server.scores([self._text(ids, mask) for ids, mask in zip(*self._tokens(rows), strict=True)])

    def _tokens(self, rows: Batch) -> tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]:
        return rows["input_ids"].unbind(), rows["attention_mask"].bool().unbind()

    def _text(self, ids: torch.Tensor, mask: torch.Tensor) -> str:
        text = self._tokenizer.decode(ids[mask].tolist(), skip_special_tokens=False)
        assert isinstance(text, str), "of one row"
        return text
