"""Keys that change a model's configuration before its weights load: attention, positions, routers."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

from finetune_trainer.config import TrainConfig
from finetune_trainer.model import attention as kernels
from finetune_trainer.model import positions, routers


def apply(cfg: TrainConfig, config: PretrainedConfig) -> None:
    """Write into `config` what the keys ask for.

    Raises:
        RunError: this model has no such setting.
    """
    positions.stretch(cfg, config)
    routers.balance(cfg, config)


def attention(cfg: TrainConfig, config: PretrainedConfig) -> dict[str, Any]:
    """`attn_implementation` for loading, if the user has a wish.

    Raises:
        RunError: this machine or this model has not what was asked for.
    """
    return kernels.chosen(cfg, config)
