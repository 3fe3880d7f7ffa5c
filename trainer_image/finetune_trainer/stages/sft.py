"""Supervised fine-tuning: learn the answers of conversations, token by token."""

from __future__ import annotations

import torch

from finetune_trainer import isolation
from finetune_trainer.collate import Collate, Collator
from finetune_trainer.config import TrainConfig, zero
from finetune_trainer.stages.parts import Parts
from finetune_trainer.stages.token_mean import TokenMean
from finetune_trainer.stages.trainer import GlobalTrainer


def build(cfg: TrainConfig, parts: Parts) -> GlobalTrainer:
    """A trainer whose loss is the mean over the learned tokens of the global batch.

    Raises:
        PackedRowsLeak: neat_packing is asked for, and this model does not keep packed rows apart.
    """
    return GlobalTrainer(
        parts, objective=TokenMean(parts.model), collator=_collator(cfg, parts), order=parts.order(cfg)
    )


def _collator(cfg: TrainConfig, parts: Parts) -> Collate:
    pad = parts.tokenizer.pad_token_id
    assert isinstance(pad, int), "the template's fix-ups have set it"
    if not cfg.data.neat_packing:
        return Collator(pad_token_id=pad, ignore_pad_token_for_loss=cfg.data.ignore_pad_token_for_loss)
    args = parts.arguments
    if zero.stage(cfg.training.deepspeed) != 3:
        parts.model.to(args.device)  # type: ignore[arg-type] # the probe computes where the run will
    compute = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None
    return isolation.collator(parts.model, pad, device=args.device, compute=compute)
