"""Whether activations may be kept: asked before a run is sized, and again when its model is loaded."""

from __future__ import annotations

from finetune_trainer.config.train_config import TrainConfig

_OF_MODEL = frozenset(("disable_gradient_checkpointing", "use_reentrant_gc", "use_unsloth_gc"))
_OF_TRAINING = frozenset(("gradient_checkpointing", "gradient_checkpointing_kwargs"))
_MARGIN = 1.5
"""The backward pass makes as large results again before it lets go of what was kept."""
_SHARE = 0.7
"""Of the free memory that may be planned with; the rest is for what nobody measures."""
_OPTIMIZER = 16
"""Bytes for each trained weight, at most: a gradient, DDP's copy of it, and Adam's two means, float32."""


def is_open(cfg: TrainConfig) -> bool:
    """Whether nobody has said a word about gradient checkpointing, and what a step keeps can be told beforehand.

    Where weights are split over ranks or a second model comes along, it cannot.
    """
    said = _OF_MODEL & cfg.model.model_fields_set or _OF_TRAINING & cfg.training.model_fields_set
    alone = not (cfg.training.deepspeed or cfg.training.fsdp or cfg.finetuning.use_asft_loss)
    return not said and alone and cfg.finetuning.stage in ("pt", "sft")


def has_room(cfg: TrainConfig, *, once: float, each: float, trained: int, free: float) -> bool:
    """Whether the largest micro batch that there can be leaves all activations in memory.

    Args:
        cfg: micro batches of at most cutoff_len tokens a row.
        once: bytes that a micro batch keeps whatever its size.
        each: bytes that it keeps for each token.
        trained: weights that learn.
        free: bytes for all that is not there yet.
    """
    tokens = cfg.training.per_device_train_batch_size * cfg.data.cutoff_len
    return once + _MARGIN * each * tokens + _OPTIMIZER * trained < _SHARE * free
