"""Keys that change a model's configuration before its weights load: attention, positions, routers."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

from finetune_trainer.config import TrainConfig

_ATTENTION = {"auto": None, "disabled": "eager", "sdpa": "sdpa", "fa2": "flash_attention_2"}


def apply(cfg: TrainConfig, config: PretrainedConfig) -> None:
    """Write into `config` what the keys ask for.

    Raises:
        RunError: this model has no such setting.
    """


def attention(cfg: TrainConfig, config: PretrainedConfig) -> dict[str, Any]:  # noqa: ARG001
    """`attn_implementation` for loading, if the user has a wish."""
    wish = _ATTENTION.get(cfg.model.flash_attn)
    return {} if wish is None else {"attn_implementation": wish}
