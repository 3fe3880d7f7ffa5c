"""Supervised fine-tuning: learn the answers of conversations, token by token."""

from __future__ import annotations

from finetune_trainer.collate import Collator
from finetune_trainer.config import TrainConfig
from finetune_trainer.stages.parts import Parts
from finetune_trainer.stages.trainer import GlobalTrainer


def build(cfg: TrainConfig, parts: Parts) -> GlobalTrainer:
    """A trainer whose loss is the mean over the learned tokens of the global batch."""
    pad = parts.tokenizer.pad_token_id
    assert isinstance(pad, int), "the template's fix-ups have set it"
    return GlobalTrainer(parts, collator=Collator(pad_token_id=pad), order=parts.order(cfg))
