"""What the keys about attention, kernels, number types and checkpointing must not say together."""

from __future__ import annotations

from typing import Any

import pytest

from finetune_trainer.config import ConfigInvalid, parse
from finetune_trainer.config.rules import RULES, kernels

PLAIN = {
    "stage": "sft", "do_train": True, "model_name_or_path": "m", "dataset": "d", "template": "llama3",
    "output_dir": "o", "finetuning_type": "lora",
}  # fmt: skip
BROKEN: list[tuple[dict[str, Any], str, str]] = [
    (
        {"gradient_checkpointing": True, "disable_gradient_checkpointing": True},
        "gradient_checkpointing",
        "write disable_gradient_checkpointing: false",
    ),
    (
        {"gradient_checkpointing_kwargs": {"use_reentrant": False}},
        "gradient_checkpointing_kwargs",
        "must say what use_reentrant_gc says",
    ),
    ({"use_unsloth_gc": True, "disable_gradient_checkpointing": True}, "use_unsloth_gc", "a kind of gradient"),
    ({"shift_attn": True, "flash_attn": "fa2"}, "flash_attn", "leave flash_attn out"),
    ({"shift_attn": True, "neat_packing": True}, "shift_attn", "write packing: true"),
    ({"moe_aux_loss_coef": 0.1, "stage": "dpo"}, "moe_aux_loss_coef", "only in stages pt and sft"),
    ({"moe_aux_loss_coef": 0.1, "use_reentrant_gc": True}, "use_reentrant_gc", "takes the balancing loss's gradient"),
    ({"moe_aux_loss_coef": -1}, "moe_aux_loss_coef", "greater than or equal to 0"),
    ({"liger_kernel_config": {"rope": False}}, "liger_kernel_config", "without enable_liger_kernel: true"),
    ({"upcast_layernorm": True, "pure_bf16": True}, "upcast_layernorm", "write bf16: true"),
    ({"upcast_layernorm": True, "bf16": True, "deepspeed": "zero2"}, "upcast_layernorm", "all weights in one type"),
    ({"fp8": True}, "bf16", "write bf16: true"),
    ({"fp8": True, "bf16": True, "deepspeed": "zero3"}, "fp8", "write zero2"),
    ({"fp8": True, "bf16": True, "fp8_backend": "te"}, "fp8_backend", "write torchao"),
    ({"fp8_backend": "torchao"}, "fp8_backend", "without fp8: true"),
    ({"fp8_enable_fsdp_float8_all_gather": True}, "fp8_enable_fsdp_float8_all_gather", "write fp8: true alone"),
    ({"torch_compile": False, "torch_compile_backend": "eager"}, "torch_compile_backend", "turns torch_compile on"),
    ({"torch_compile_backend": "nonsense"}, "torch_compile_backend", "one of inductor, eager, aot_eager"),
    ({"torch_compile_mode": "fast"}, "torch_compile_mode", "one of default, reduce-overhead, max-autotune"),
    ({"torchdynamo": "inductor"}, "torchdynamo", "torch_compile_backend"),
    ({"use_unsloth": True}, "use_unsloth", "enable_liger_kernel"),
    ({"mixture_of_depths": "convert"}, "mixture_of_depths", "cannot be imported with transformers 5"),
    ({"tf32": True, "use_cpu": True}, "tf32", "CPUs have no TF32"),
    ({"neftune_noise_alpha": -1}, "neftune_noise_alpha", "greater than or equal to 0"),
]


@pytest.mark.shows(
    "use_unsloth", "mixture_of_depths", "fp8_backend", "fp8_enable_fsdp_float8_all_gather", "torchdynamo", "tf32",
    "gradient_checkpointing", "gradient_checkpointing_kwargs", "liger_kernel_config", "torch_compile_mode",
)  # fmt: skip
@pytest.mark.parametrize(("changes", "key", "message"), BROKEN, ids=lambda value: str(value)[:40])
def test_refuses(changes: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse({**PLAIN, **changes})
    assert [
        (found.path.rpartition(".")[2], message in found.message)
        for found in caught.value.violations
        if found.path.endswith(key)
    ] == [(key, True)]


@pytest.mark.parametrize(
    "changes",
    [
        {"gradient_checkpointing": True},
        {"gradient_checkpointing": False, "disable_gradient_checkpointing": True},
        {"gradient_checkpointing_kwargs": {"use_reentrant": False}, "use_reentrant_gc": False},
        {"shift_attn": True, "packing": True},
        {"upcast_layernorm": True, "bf16": True},
        {"use_liger_kernel": True, "liger_kernel_config": {"rope": False}},
        {"fp8": True, "bf16": True, "fp8_backend": "torchao"},
        {"torch_compile_backend": "eager"},
        {"flash_attn": "flex"},
        {"moe_aux_loss_coef": 0.001},
    ],
    ids=str,
)
def test_allows(changes: dict[str, Any]) -> None:
    parse({**PLAIN, **changes})


def test_every_rule_counts() -> None:
    assert set(kernels.RULES) <= set(RULES)
