"""What keys about optimisers, schedules and ranks must not say together."""

from __future__ import annotations

from typing import Any

import pytest

from finetune_trainer.config import ConfigInvalid, parse
from finetune_trainer.config.optim_values import optim_arguments

FULL: dict[str, Any] = {"finetuning_type": "full"}
LAYERS = {**FULL, "use_galore": True, "galore_layerwise": True}
Z3 = {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True}
BROKEN: list[tuple[dict[str, Any], str, str]] = [
    ({**FULL, "use_galore": True, "use_muon": True}, "use_muon", "not together with use_galore"),
    ({"use_badam": True, "finetuning_type": "lora"}, "use_badam", "finetuning_type full or freeze, not lora"),
    ({**FULL, "loraplus_lr_ratio": 16}, "loraplus_lr_ratio", "only with finetuning_type: lora"),
    (
        {**FULL, "use_galore": True, "optim": "sgd"},
        "optim",
        "sgd has no effect with use_galore, which takes adafactor",
    ),
    ({**FULL, "use_muon": True, "optim": "sgd"}, "optim", "has no effect with use_muon"),
    ({"loraplus_lr_ratio": 4, "optim": "lomo"}, "optim", "chooses its weights by itself"),
    ({**FULL, "use_badam": True, "badam_mode": "ratio", "optim": "sgd"}, "optim", "an Adam by itself"),
    ({"adafactor": True, "optim": "sgd"}, "adafactor", "contradicts optim: sgd"),
    ({"optim_args": "momentum"}, "optim_args", "expected name=value"),
    ({"optim_args": "momentum=0.9"}, "optim_args", "momentum has no effect with optim: adamw_torch_fused"),
    ({"optim": "sgd", "optim_args": "speed=1"}, "optim_args", "takes momentum, dampening"),
    ({"optim": "stable_adamw", "optim_args": "kahan_sum=False"}, "optim_args", "would be read as true"),
    ({"optim": "galore_adamw"}, "optim_target_modules", "missing"),
    ({"optim_target_modules": "all"}, "optim_target_modules", "has no effect"),
    ({"optim": "sgd", "adam_beta2": 0.95}, "adam_beta2", "has no effect with optim: sgd"),
    ({"optim": "lion_8bit", "adam_epsilon": 1e-6}, "adam_epsilon", "has no effect"),
    ({"optim": "lomo", "weight_decay": 0.1}, "weight_decay", "has no effect"),
    ({**FULL, "use_badam": True, "badam_mode": "ratio", "weight_decay": 0.1}, "weight_decay", "badam_mode: ratio"),
    ({**LAYERS, "gradient_accumulation_steps": 2}, "gradient_accumulation_steps", "must be 1"),
    ({"optim": "lomo", "gradient_accumulation_steps": 2}, "gradient_accumulation_steps", "must be 1: optim steps"),
    ({**LAYERS, "fp16": True}, "fp16", "take bf16"),
    ({**LAYERS, "max_grad_norm": 1.0}, "max_grad_norm", "has no effect: galore_layerwise steps"),
    ({**FULL, "use_galore": True, "deepspeed": "zero2"}, "use_galore", "flat pieces of weights"),
    ({**FULL, "use_muon": True, "deepspeed": "zero2"}, "use_muon", "take DDP or fsdp"),
    ({"optim": "schedule_free_adamw", "deepspeed": "zero2"}, "optim", "flat pieces"),
    ({**FULL, "use_adam_mini": True, "fsdp": "full_shard"}, "use_adam_mini", "take DDP"),
    (
        {**FULL, "use_apollo": True, "apollo_proj_type": "left"},
        "apollo_proj_type",
        "take std, or apollo_scale_type: tensor",
    ),
    ({**FULL, "use_apollo": True, "apollo_scale_front": True}, "apollo_scale_front", "changes nothing"),
    (
        {**FULL, "use_badam": True, "badam_switch_mode": "random", "badam_start_block": 1},
        "badam_start_block",
        "draws its first block",
    ),
    ({**FULL, "use_badam": True, "badam_switch_interval": 0}, "badam_switch_interval", "at least 1 step, or -1"),
    (
        {**FULL, "use_badam": True, "badam_mode": "ratio", "badam_switch_mode": "fixed"},
        "badam_switch_mode",
        "no effect with badam_mode: ratio",
    ),
    ({"lr_scheduler_type": "greedy"}, "lr_scheduler_type", "goes by evaluations"),
    (
        {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_strategy": "epoch", "val_size": 0.1, "deepspeed": "zero2"},
        "lr_scheduler_type",
        "can't be driven through DeepSpeed",
    ),
    ({"lr_scheduler_kwargs": {"num_cycles": 2}}, "lr_scheduler_kwargs", "linear knows no num_cycles; it takes none"),
    (
        {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"minimum": 2}},
        "lr_scheduler_kwargs",
        "it takes num_cycles, min_lr, min_lr_rate",
    ),
    ({"lr_scheduler_type": "constant", "warmup_ratio": 0.1}, "warmup_ratio", "take constant_with_warmup"),
    ({"optim": "schedule_free_adamw", "warmup_ratio": 0.1}, "warmup_ratio", "write warmup_steps: <steps>"),
    ({"deepspeed": "examples/ds_z2_autotp_config.json"}, "deepspeed", "ranks that read the same rows"),
    ({"deepspeed": "zero4"}, "deepspeed", "zero0, zero1, zero2, zero2_offload"),
    ({"deepspeed": {"zero_optimization": {"stage": "auto"}}}, "deepspeed", "stage is 0, 1, 2 or 3"),
    ({"deepspeed": {"tensor_parallel": {"autotp_size": 2}}}, "deepspeed", "AutoTP"),
    (
        {"deepspeed": {"train_micro_batch_size_per_gpu": 3}},
        "deepspeed",
        "train_micro_batch_size_per_gpu: 3 contradicts per_device_train_batch_size: 8",
    ),
    ({"deepspeed": {"gradient_clipping": 0.5}}, "deepspeed", 'contradicts max_grad_norm: 1.0; write "auto" there'),
    ({"deepspeed": {"bf16": {"enabled": True}}}, "deepspeed", "bf16.enabled: True contradicts bf16: False"),
    ({"deepspeed": {"train_batch_size": 12}}, "deepspeed", "no multiple of the 8 rows of a rank"),
    (
        {"deepspeed": {"optimizer": {"type": "Adam"}}, "optim": "sgd"},
        "deepspeed",
        "section optimizer would take the place of optim",
    ),
    ({"deepspeed": {"zero_optimization": {"stage": 3}}}, "deepspeed", "must be true"),
    ({"fsdp": "full_shard", "deepspeed": "zero2"}, "fsdp", "not together with deepspeed"),
    ({"fsdp": "full_shard", "save_only_model": True}, "fsdp", "not together with save_only_model"),
    ({"fsdp": "hybrid_shard"}, "fsdp", "hybrid_shard is not of FSDP2"),
    ({"fsdp": "auto_wrap"}, "fsdp", "nothing of what is shared"),
    ({"fsdp_config": {"version": 2}}, "fsdp_config", "no effect without fsdp"),
    ({"fsdp_min_num_params": 2}, "fsdp_min_num_params", "no effect without fsdp"),
    ({"fsdp": "full_shard", "fsdp_config": {"fsdp_version": 1}}, "fsdp_config", "FSDP1 is gone"),
    ({"fsdp": "full_shard", "fsdp_config": {"fsdp_use_orig_params": True}}, "fsdp_config", "use_orig_params has no"),
    ({"accelerator_config": {"split_batches": True}}, "accelerator_config", "our own order"),
    ({"parallelism_config": {"tp_size": 2}}, "parallelism_config", "not supported"),
    ({"ddp_backend": "mpi"}, "ddp_backend", "other devices are not supported"),
    ({"ddp_backend": "nccl", "use_cpu": True}, "ddp_backend", "nccl needs GPUs"),
    ({"ddp_static_graph": True, "deepspeed": "zero2"}, "ddp_static_graph", "is of DDP"),
]
FINE: list[dict[str, Any]] = [
    {"optim": "sgd", "optim_args": "momentum=0.9, nesterov=true"},
    {"optim": "adafactor"},
    {"optim": "galore_adamw_layerwise", "optim_target_modules": "attn,mlp", "optim_args": "rank=64", **FULL},
    {**LAYERS, "bf16": True, "max_grad_norm": 0},
    {**FULL, "use_galore": True, "optim": "adamw_8bit"},
    {"loraplus_lr_ratio": 16, "deepspeed": "zero2"},
    {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.1}},
    {"deepspeed": "ds_z3_fp8_config.json"},
    {"deepspeed": {"train_batch_size": 16, "bf16": {"enabled": "auto"}, "zero_optimization": Z3}},
    {"deepspeed": {"gradient_clipping": 1.0, "optimizer": {"type": "AdamW", "params": {"lr": "auto"}}}},
    {"fsdp": "full_shard auto_wrap", "fsdp_config": {"fsdp_offload_params": True, "reshard_after_forward": True}},
    {"fsdp": ["shard_grad_op"], "fsdp_transformer_layer_cls_to_wrap": "LlamaDecoderLayer"},
    {"ddp_backend": "gloo", "use_cpu": True},
    {"optim": "schedule_free_adamw", "warmup_steps": 10, "lr_scheduler_type": "constant"},
]


@pytest.mark.shows(
    "apollo_scale_front", "optim_args", "optim_target_modules", "accelerator_config", "parallelism_config",
    "lr_scheduler_kwargs", "ddp_backend", "deepspeed", "fsdp_config",
)  # fmt: skip
@pytest.mark.parametrize(("said", "path", "message"), BROKEN)
def test_refused_with_what_to_write(said: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse(said)
    assert any(
        found.path == f"spec.training.{path}" and message in found.message for found in caught.value.violations
    ), str(caught.value)


@pytest.mark.parametrize("said", FINE)
def test_accepted(said: dict[str, Any]) -> None:
    parse(said)


def test_optim_arguments() -> None:
    assert optim_arguments("a=1, b = two") == {"a": "1", "b": "two"}
    assert optim_arguments(None) == {}
