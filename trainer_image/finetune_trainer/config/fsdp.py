"""What `fsdp` and `fsdp_config` may say, and what it means for PyTorch's FSDP2, the only one that is left."""

from __future__ import annotations

from typing import Any

from finetune_trainer.config.train_config import TrainConfig

WORDS = ("full_shard", "shard_grad_op", "auto_wrap", "offload")
CONFIG = (
    "version", "auto_wrap_policy", "min_num_params", "transformer_layer_cls_to_wrap", "cpu_offload", "offload_params",
    "reshard_after_forward", "activation_checkpointing", "cpu_ram_efficient_loading", "state_dict_type",
)  # fmt: skip
"""What FSDP2 takes, without the `fsdp_` that accelerate's files put before it."""


def words(cfg: TrainConfig) -> tuple[str, ...]:
    """`full_shard auto_wrap`, `full_shard,auto_wrap` or a list."""
    return tuple(word for part in cfg.training.fsdp for word in part.split())


def settings(cfg: TrainConfig) -> dict[str, Any]:
    """fsdp_config without prefixes."""
    return {name.removeprefix("fsdp_"): value for name, value in (cfg.training.fsdp_config or {}).items()}


def arguments(cfg: TrainConfig) -> dict[str, Any]:
    """`fsdp` and `fsdp_config` for transformers; nothing without FSDP.

    Checkpoints are always in pieces, and the result is always whole, whatever state_dict_type says: gathering whole
    weights for each checkpoint aborts on gloo and is slow on GPUs.
    """
    if not cfg.training.fsdp:
        return {}
    said = settings(cfg)
    training = cfg.training
    if training.fsdp_min_num_params:
        said |= {"min_num_params": training.fsdp_min_num_params, "auto_wrap_policy": "SIZE_BASED_WRAP"}
    if training.fsdp_transformer_layer_cls_to_wrap:
        said["transformer_layer_cls_to_wrap"] = training.fsdp_transformer_layer_cls_to_wrap.split(",")
    if "offload_params" in said:
        said["cpu_offload"] = said.pop("offload_params")
    said |= {"version": 2, "state_dict_type": "SHARDED_STATE_DICT"}
    return {"fsdp": " ".join(words(cfg)), "fsdp_config": said}
