"""Quantised base models: made so while they load, or stored so."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from finetune_trainer.config import TrainConfig


def arguments(cfg: TrainConfig, config: PretrainedConfig, device: torch.device) -> dict[str, Any]:  # noqa: ARG001
    """What `from_pretrained` gets for a quantised model; nothing for a plain one.

    Raises:
        RunError: what it needs (a GPU, a package) is not here, or it does not go with the rest of the configuration.
    """
    return {}


def prepare(cfg: TrainConfig, model: PreTrainedModel) -> None:
    """After loading, before adapters: what training on quantised weights needs."""
