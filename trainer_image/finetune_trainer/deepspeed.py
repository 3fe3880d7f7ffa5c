"""Pure: TrainConfig -> DeepSpeed's config.

Values of "auto" are filled by transformers, from the training arguments and the model's width. Sources: DeepSpeed's
configuration page (https://www.deepspeed.ai/docs/config-json/) and what LLaMA-Factory's example files ask for.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from finetune_trainer.config import TrainConfig
from finetune_trainer.config.zero import Zero, by_name


def resolve(cfg: TrainConfig, *, world_size: int) -> dict[str, Any] | None:
    """DeepSpeed's config for a job of `world_size` ranks; None without DeepSpeed.

    A config that the user wrote stays as it is. Ours states the whole batch, so that transformers refuses ranks which
    joined another world than the job's.
    """
    said = cfg.training.deepspeed
    if not said:
        return None
    if not isinstance(said, str):
        return copy.deepcopy(said)
    training = cfg.training
    batch = training.per_device_train_batch_size * training.gradient_accumulation_steps * world_size
    return {
        "train_batch_size": batch,
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        # DeepSpeed only knows its own optimisers; without this it refuses PyTorch's.
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": "auto"},
        "fp16": {
            "enabled": "auto",
            "loss_scale": 0,
            "loss_scale_window": 1000,
            "initial_scale_power": 16,
            "hysteresis": 2,
            "min_loss_scale": 1,
        },
        "zero_optimization": _zero(by_name(said)),
    }


def filled(config: Mapping[str, Any], cfg: TrainConfig, *, world_size: int) -> dict[str, Any]:
    """What transformers will put in the place of each `auto`, by its dotted path.

    None: it follows from the model's width or the number of steps, which only a run knows; `.finetune/ds.json` under
    output_dir has it then.
    """
    known = _known(cfg, world_size)
    return {path: known.get(path) for path in _autos(config)}


def _known(cfg: TrainConfig, world_size: int) -> dict[str, Any]:
    training = cfg.training
    micro, accumulated = training.per_device_train_batch_size, training.gradient_accumulation_steps
    return {
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": accumulated,
        "train_batch_size": micro * accumulated * world_size,
        "gradient_clipping": training.max_grad_norm,
        "bf16.enabled": bool(training.bf16 or training.bf16_full_eval),
        "fp16.enabled": bool(training.fp16 or training.fp16_full_eval),
        "optimizer.params.lr": training.learning_rate,
        "optimizer.params.betas": [training.adam_beta1, training.adam_beta2],
        "optimizer.params.eps": training.adam_epsilon,
        "optimizer.params.weight_decay": training.weight_decay,
        "scheduler.params.warmup_min_lr": 0,
        "scheduler.params.warmup_max_lr": training.learning_rate,
    }


def _autos(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Paths of all values that are `auto`, in the order in which they stand there."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _autos(value, f"{prefix}{name}.")
        elif value == "auto":
            yield f"{prefix}{name}"


def _zero(zero: Zero) -> dict[str, Any]:
    host = {"device": "cpu", "pin_memory": True}
    section: dict[str, Any] = {"stage": zero.stage, "overlap_comm": False, "contiguous_gradients": True}
    if zero.stage == 2:
        section |= _STAGE_2
    if zero.stage == 3:
        section |= _STAGE_3
    if zero.offload:
        section |= {"offload_optimizer": host}
    if zero.offload and zero.stage == 3 and not zero.weights_stay:
        section |= {"offload_param": dict(host)}
    return section


_STAGE_2: dict[str, Any] = {
    "allgather_partitions": True,
    "allgather_bucket_size": 500_000_000,
    "reduce_scatter": True,
    "reduce_bucket_size": 500_000_000,
    "round_robin_gradients": True,
}
_STAGE_3: dict[str, Any] = {
    "sub_group_size": 1_000_000_000,
    "reduce_bucket_size": "auto",
    "stage3_prefetch_bucket_size": "auto",
    "stage3_param_persistence_threshold": "auto",
    "stage3_max_live_parameters": 1_000_000_000,
    "stage3_max_reuse_distance": 1_000_000_000,
    "stage3_gather_16bit_weights_on_model_save": True,
}
