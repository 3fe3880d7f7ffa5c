"""How rows become tokens, by train.yaml and a tokenizer: the template, the options, and a key that stands for them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from finetune_trainer import encode
from finetune_trainer.config import TrainConfig
from finetune_trainer.data import store
from finetune_trainer.data.convert import converter
from finetune_trainer.data.shards import NUMBERING
from finetune_trainer.data.sources import Source
from finetune_trainer.differences import Faults
from finetune_trainer.encode.encoder import EncodeOptions, Encoder
from finetune_trainer.examples import BadRow, Example
from finetune_trainer.template import Template, tools
from finetune_trainer.template.chosen import chosen

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_VERSION = 2
"""Raised when the same rows make other tokens than before, or lie on disk otherwise: old caches are left alone."""


def data_stage(cfg: TrainConfig) -> encode.Stage:
    """The stage as far as data knows it: pt, sft, rm (pairs, of dpo too), kto, ppo."""
    stage = cfg.finetuning.stage
    return "rm" if stage == "dpo" else stage


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything between a raw row and its tokens."""

    cfg: TrainConfig
    tokenizer: PreTrainedTokenizerBase
    template: Template
    notes: tuple[str, ...]
    """For the report: where the template comes from, if train.yaml names none."""
    faults: Faults
    today: date

    @classmethod
    def of(cls, cfg: TrainConfig, tokenizer: PreTrainedTokenizerBase, today: date) -> Recipe:
        """From a checked configuration and a tokenizer after `template.fix_tokenizer`.

        Raises:
            TemplateUnknown, TemplateInvalid: no such template, or it does not go with the tokenizer.
        """
        faults = Faults.named(cfg.data.llamafactory_faults)
        template, notes = chosen(cfg.data, tokenizer)
        return cls(cfg=cfg, tokenizer=tokenizer, template=template, notes=notes, faults=faults, today=today)

    @property
    def stage(self) -> encode.Stage:
        """Of the data."""
        return data_stage(self.cfg)

    def of_prompts(self) -> Recipe:
        """The same for rows that are to be answered: the prompt, and the last answer by itself.

        LLaMA-Factory makes them so for predict_with_generate (data/loader.py, `do_generate`).
        """
        finetuning = self.cfg.finetuning.model_copy(update={"stage": "ppo"})
        return dataclasses.replace(self, cfg=self.cfg.model_copy(update={"finetuning": finetuning}))

    def convert(self, source: Source) -> Callable[[object], Example | BadRow]:
        """From raw rows to examples."""
        return converter(source.entry, self.faults)

    def encoder(self, source: Source, sample: Iterable[Example] = ()) -> Encoder:
        """From examples to tokens.

        Args:
            source: whose rows it is for.
            sample: some of them, on which tokenisers are compared, so that the fastest right one is taken.

        Raises:
            TemplateInvalid: the template does not go with the tokenizer or the options.
        """
        return encode.build(self.stage, self.template, self.tokenizer, self.options(source), sample)

    def identity(self, source: Source) -> str:
        """A key of all that decides how a row of this source becomes tokens, and of the way it is kept."""
        return store.key(
            _VERSION,
            NUMBERING,
            self.stage,
            {part.name: getattr(self.template, part.name) for part in dataclasses.fields(Template) if part.compare},
            dataclasses.asdict(self.options(source)),
            dataclasses.asdict(self.faults),
            tokenizer_key(self.tokenizer),
        )

    def options(self, source: Source) -> EncodeOptions:
        """What train.yaml says about this source's way to tokens."""
        # Yesterday's tokens are good today, except where the date is in them.
        dated = tools.get(self.template.tool_format).dated and source.entry.columns.tools is not None
        return self.options_of(self.today if dated else date.min)

    def options_of(self, today: date) -> EncodeOptions:
        """The same for rows that print this date."""
        data = self.cfg.data
        return EncodeOptions(
            cutoff_len=data.cutoff_len,
            train_on_prompt=data.train_on_prompt,
            mask_history=data.mask_history,
            packing=data.packing,
            neat_packing=data.neat_packing,
            enable_thinking=data.enable_thinking,
            preserve_thinking=data.preserve_thinking,
            faults=self.faults,
            today=today,
        )


def tokenizer_key(tokenizer: PreTrainedTokenizerBase) -> str:
    """A key of what decides how text becomes ids, without the state that a call leaves behind."""
    specials = [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id]
    flags = [getattr(tokenizer, name, None) for name in ("add_bos_token", "add_eos_token", "split_special_tokens")]
    if not tokenizer.is_fast:
        from datasets.fingerprint import Hasher

        return store.key(specials, flags, Hasher.hash(tokenizer))
    # In front of the tokens it says how the last call truncated and padded.
    _, _, state = tokenizer.backend_tokenizer.to_str().partition('"added_tokens":')
    return store.key(specials, flags, hashlib.sha256(state.encode()).hexdigest())
