"""Supervised fine-tuning: learn the answers of conversations, token by token."""

from __future__ import annotations

import functools

import torch
from torch import nn

from finetune_trainer import isolation, model
from finetune_trainer.collate import Batch, Collate, Collator
from finetune_trainer.config import TrainConfig, zero
from finetune_trainer.losses import tokens
from finetune_trainer.stages.parts import Parts
from finetune_trainer.stages.token_mean import TokenLoss, TokenMean, smoothing
from finetune_trainer.stages.trainer import GlobalTrainer


def build(cfg: TrainConfig, parts: Parts) -> GlobalTrainer:
    """A trainer whose loss is the mean over the learned tokens of the global batch.

    Raises:
        PackedRowsLeak: neat_packing is asked for, and this model does not keep packed rows apart.
    """
    accuracy = cfg.finetuning.compute_accuracy
    if cfg.finetuning.use_asft_loss:
        objective: TokenMean = Anchored(cfg, parts, accuracy=accuracy)
    else:
        objective = TokenMean(
            parts.model,
            token_loss=_token_loss(cfg),
            accuracy=accuracy,
            narrow=not parts.arguments.torch_compile,
        )
    trainer = _trainer(cfg, parts, objective)
    if isinstance(objective, Anchored):
        objective.reference.prepare(trainer.accelerator)
    return trainer


def _trainer(cfg: TrainConfig, parts: Parts, objective: TokenMean) -> GlobalTrainer:
    collator, order = _collator(cfg, parts), parts.order(cfg)
    if not cfg.training.predict_with_generate:
        return GlobalTrainer(parts, objective=objective, collator=collator, order=order)
    from finetune_trainer.stages.answering import AnsweringTrainer

    return AnsweringTrainer(cfg, parts, objective=objective, collator=collator, order=order)


class Anchored(TokenMean):
    """ASFT: below a LoRA adapter it holds to the base model (LLaMA-Factory crashes there), else to a second copy."""

    def __init__(self, cfg: TrainConfig, parts: Parts, *, accuracy: bool) -> None:
        super().__init__(
            parts.model, token_loss=tokens.dft, accuracy=accuracy, narrow=not parts.arguments.torch_compile
        )
        self.reference = model.reference(cfg, parts.tokenizer, parts.model, device=parts.device)
        self._alpha = cfg.finetuning.asft_alpha

    def each(self, model: nn.Module, batch: Batch, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """DFT and the divergence."""
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        with self.reference.frozen(model) as frozen:
            theirs, _ = tokens.learned(frozen(**inputs)["logits"], batch["labels"])
        return tokens.asft(logits, targets, theirs, alpha=self._alpha)


def _token_loss(cfg: TrainConfig) -> TokenLoss | None:
    """What use_dft_loss, use_eaft_loss or label_smoothing_factor ask for; rules let one of them by."""
    if cfg.finetuning.use_dft_loss:
        return tokens.dft
    if cfg.finetuning.use_eaft_loss:
        return functools.partial(tokens.eaft, alpha=cfg.finetuning.eaft_alpha)
    return smoothing(cfg.training.label_smoothing_factor)


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
