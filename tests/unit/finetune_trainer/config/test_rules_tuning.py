"""What the keys about which weights move must not say together."""

from __future__ import annotations

from typing import Any

import pytest

from finetune_trainer.config import ConfigInvalid, parse
from finetune_trainer.config.rules import tuning

FREEZE, OFT, FULL = {"finetuning_type": "freeze"}, {"finetuning_type": "oft"}, {"finetuning_type": "full"}
BROKEN: list[tuple[str, dict[str, Any], str, str]] = [
    ("_types", {**FULL, "adapter_name_or_path": "a"}, "adapter_name_or_path", "lora or oft, not full; merge it"),
    ("_types", {**FREEZE, "adapter_name_or_path": "a"}, "adapter_name_or_path", "finetune export"),
    ("_types", {**FULL, "use_dora": True}, "use_dora", "only with finetuning_type: lora, not full"),
    ("_types", {**OFT, "use_rslora": True}, "use_rslora", "only with finetuning_type: lora, not oft"),
    ("_types", {**FULL, "lora_rank": 16}, "lora_rank", "leave it out"),
    ("_types", {**FREEZE, "additional_target": "lm_head"}, "additional_target", "lora or oft"),
    ("_types", {"oft_rank": 4}, "oft_rank", "only with finetuning_type: oft"),
    ("_types", {"freeze_extra_modules": "lm_head"}, "freeze_extra_modules", "only with finetuning_type: freeze"),
    ("_types", {**FULL, "use_llama_pro": True}, "use_llama_pro", "freeze or lora or oft, not full"),
    ("_given_adapters", {"create_new_adapter": True}, "create_new_adapter", "needs adapter_name_or_path"),
    ("_given_adapters", {"adapter_folder": "sub"}, "adapter_folder", "needs adapter_name_or_path"),
    ("_given_adapters", {"adapter_name_or_path": "a,b", "deepspeed": "zero3"}, "adapter_name_or_path", "merge first"),
    (
        "_given_adapters",
        {"adapter_name_or_path": "a", "create_new_adapter": True, "deepspeed": "zero3"},
        "create_new_adapter",
        "merge first",
    ),
    ("_freeze", {**FREEZE, "freeze_trainable_layers": 0}, "freeze_trainable_layers", "nothing would move"),
    ("_freeze", {"freeze_trainable_layers": 4}, "freeze_trainable_layers", "only with finetuning_type: freeze"),
    ("_freeze", {"use_llama_pro": True, "freeze_trainable_layers": -1}, "freeze_trainable_layers", "were added"),
    ("_oft", {**OFT, "oft_rank": 4, "oft_block_size": 8}, "oft_rank", "keep one"),
    ("_oft", {**OFT, "oft_block_size": 0}, "oft_block_size", "above 0"),
    ("_pissa", {"pissa_init": True}, "pissa_convert", "pissa_iter: -1"),
    ("_pissa", {"pissa_init": True, "pissa_convert": True, "pissa_iter": 0}, "pissa_iter", "-1 for the exact"),
    ("_pissa", {"pissa_iter": 4}, "pissa_iter", "needs pissa_init"),
    ("_pissa", {"pissa_convert": True}, "pissa_convert", "init-adapter"),
    ("_pissa", {"pissa_init": True, "pissa_convert": True, "use_dora": True}, "pissa_convert", "leave use_dora out"),
    (
        "_pissa",
        {"pissa_init": True, "pissa_convert": True, "adapter_name_or_path": "a"},
        "pissa_init",
        "create_new_adapter: true",
    ),
    ("_pissa", {"pissa_init": True, "pissa_iter": -1, "deepspeed": "zero3"}, "pissa_init", "not under ZeRO-3"),
    (
        "_new_tokens",
        {"add_special_tokens": "<a>", "new_special_tokens_config": "f.yaml"},
        "add_special_tokens",
        "write the tokens into that file",
    ),
    ("_new_tokens", {"init_special_tokens": "desc_init"}, "init_special_tokens", "needs new_special_tokens_config"),
    ("_new_tokens", {**FREEZE, "add_tokens": "<a>"}, "add_tokens", "freeze_extra_modules: embed_tokens,lm_head"),
    ("_export", {"export_dir": "a", "output_dir": "b"}, "export_dir", "finetune export"),
    ("_export", {"export_size": 2}, "export_size", "needs export_dir"),
    ("_export", {"infer_dtype": "float16"}, "infer_dtype", "needs export_dir"),
    (
        "_export",
        {"export_dir": "a", "export_quantization_nsamples": 4},
        "export_quantization_nsamples",
        "needs export",
    ),
    ("_export", {"export_dir": "a", "export_quantization_bit": 4}, "export_quantization_dataset", "missing"),
    (
        "_export",
        {"export_dir": "a", "export_quantization_bit": 5, "export_quantization_dataset": "d"},
        "export_quantization_bit",
        "2, 3, 4 or 8",
    ),
    (
        "_export",
        {
            "export_dir": "a",
            "export_quantization_bit": 4,
            "export_quantization_dataset": "d",
            "adapter_name_or_path": "b",
        },
        "export_quantization_bit",
        "merge the adapters first",
    ),
]


@pytest.mark.shows("export_quantization_bit", "export_quantization_dataset", "export_quantization_nsamples")
@pytest.mark.parametrize(
    ("rule", "mapping", "key", "told"), BROKEN, ids=[f"{rule}-{said}" for rule, said, _, _ in BROKEN]
)
def test_a_rule_about_tuning_refuses(rule: str, mapping: dict[str, Any], key: str, told: str) -> None:
    assert rule in {one.__name__ for one in tuning.RULES}
    with pytest.raises(ConfigInvalid) as refused:
        parse({"do_train": True, **mapping})
    (violation,) = refused.value.violations
    assert violation.path == f"spec.training.{key}"
    assert told in violation.message


def test_each_rule_about_tuning_is_tried() -> None:
    assert {rule.__name__ for rule in tuning.RULES} == {rule for rule, _, _, _ in BROKEN}


KEPT: list[dict[str, Any]] = [
    {"adapter_name_or_path": "a,b"},
    {"adapter_name_or_path": "a", "deepspeed": "zero3"},
    {**OFT, "adapter_name_or_path": "a"},
    {**OFT, "oft_rank": 4},
    {**OFT, "oft_rank": 4, "oft_block_size": 0},
    {**FULL, "lora_rank": 8, "lora_target": "all"},  # their defaults, which change nothing
    {**FREEZE, "freeze_trainable_layers": 0, "freeze_extra_modules": "embed_tokens"},
    {"use_llama_pro": True, "freeze_trainable_layers": 8},
    {"pissa_init": True, "pissa_iter": -1},
    {"pissa_init": True, "pissa_convert": True, "additional_target": "embed_tokens", "stage": "dpo"},
    {"pissa_convert": True, "adapter_name_or_path": "pissa_init"},
    {"add_tokens": "a,b", "new_special_tokens_config": "f.yaml", "init_special_tokens": "desc_init_w_noise"},
    {"export_dir": "a", "export_size": 2, "infer_dtype": "float16", "adapter_name_or_path": "b,c"},
]


@pytest.mark.parametrize("mapping", KEPT, ids=str)
def test_no_rule_about_tuning_refuses(mapping: dict[str, Any]) -> None:
    parse({"do_train": True, **mapping})
