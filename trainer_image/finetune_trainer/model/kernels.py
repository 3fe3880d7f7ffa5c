"""Layers replaced by faster or leaner ones, after loading and before adapters."""

from __future__ import annotations

from transformers import PreTrainedModel

from finetune_trainer.config import TrainConfig


def apply(cfg: TrainConfig, model: PreTrainedModel) -> None:
    """Replace what the keys ask for.

    Raises:
        RunError: a package or a GPU that it needs is not here, or it does not know this model.
    """
