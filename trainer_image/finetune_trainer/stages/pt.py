"""Pretraining: learn documents, every token of them."""

from __future__ import annotations

import math
from typing import Any

from torch.utils.data import DataLoader
from transformers.trainer_utils import EvalLoopOutput

from finetune_trainer.collate import DocumentCollator
from finetune_trainer.config import TrainConfig
from finetune_trainer.stages.parts import Parts
from finetune_trainer.stages.token_mean import TokenMean, smoothing
from finetune_trainer.stages.trainer import GlobalTrainer


class DocumentTrainer(GlobalTrainer):
    """Tells the perplexity, too, when it evaluates."""

    def evaluation_loop(
        self,
        dataloader: DataLoader[Any],
        description: str,
        prediction_loss_only: bool | None = None,  # noqa: FBT001 - as transformers has it
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Add exp(loss); infinite where that is too large for a float, as in LLaMA-Factory."""
        output = super().evaluation_loop(dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)
        metrics: dict[str, float] = output.metrics or {}
        if not self.args.prediction_loss_only:
            metrics[f"{metric_key_prefix}_perplexity"] = perplexity(metrics[f"{metric_key_prefix}_loss"])
        return output._replace(metrics=metrics)


def build(cfg: TrainConfig, parts: Parts) -> GlobalTrainer:
    """A trainer whose loss is the mean over all tokens of the global batch but pads, and the first of each row."""
    pad = parts.tokenizer.pad_token_id
    assert isinstance(pad, int), "the template's fix-ups have set it"
    return DocumentTrainer(
        parts,
        objective=TokenMean(
            parts.model,
            token_loss=smoothing(cfg.training.label_smoothing_factor),
            narrow=not parts.arguments.torch_compile,
        ),
        collator=DocumentCollator(pad_token_id=pad),
        order=parts.order(cfg),
    )


def perplexity(loss: float) -> float:
    """exp(loss)."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
