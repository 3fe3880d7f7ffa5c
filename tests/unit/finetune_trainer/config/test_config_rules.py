"""What keys must not say together: each rule refuses what it should, and nothing beside it."""

from __future__ import annotations

from typing import Any

import pytest

from finetune_trainer.config import ConfigInvalid, parse
from finetune_trainer.config.rules import data, general
from finetune_trainer.config.zero import FILES, SHORT

BROKEN: list[tuple[str, dict[str, Any], str, str]] = [
    ("_something_to_do", {"do_train": False}, "do_train", "nothing to do"),
    ("_precision", {"bf16": True, "fp16": True}, "fp16", "not together with bf16"),
    ("_precision", {"pure_bf16": True, "fp16": True}, "fp16", "not together with pure_bf16"),
    ("_precision", {"bf16_full_eval": True, "fp16_full_eval": True}, "fp16_full_eval", "not together"),
    ("_precision", {"tf32": True, "use_cpu": True}, "tf32", "CPUs have no TF32"),
    ("_precision", {"fp16": True, "use_cpu": True}, "fp16", "nothing computes in float16 on CPUs"),
    ("_precision", {"torch_empty_cache_steps": 1, "use_cpu": True}, "torch_empty_cache_steps", "CPUs have none"),
    ("_labels", {"mask_history": True, "train_on_prompt": True}, "mask_history", "not together with train_on_prompt"),
    ("_labels", {"mask_history": True, "stage": "pt"}, "mask_history", "only in stage sft"),
    ("_labels", {"neat_packing": True, "stage": "kto"}, "neat_packing", "only in stage sft"),
    ("_packing", {"neat_packing": True, "packing": False}, "packing", "contradicts neat_packing"),
    ("_packing", {"packing": True, "stage": "dpo"}, "packing", "only in stages pt and sft"),
    ("_packing", {"packing": True, "cutoff_len": 1}, "cutoff_len", "2 or more"),
    ("_held_out", {"eval_dataset": "dev", "val_size": 0.1}, "val_size", "not together with eval_dataset"),
    ("_held_out", {"val_size": 1}, "val_size", "share below 1"),
    ("_held_out", {"val_size": 2.5}, "val_size", "whole number of rows"),
    ("_held_out", {"eval_on_each_dataset": True}, "eval_on_each_dataset", "needs eval_dataset"),
    ("_something_held_out", {"do_eval": True}, "do_eval", "nothing to evaluate on"),
    ("_something_held_out", {"eval_strategy": "epoch"}, "eval_strategy", "nothing to evaluate on"),
    ("_something_held_out", {"eval_on_start": True}, "eval_on_start", "nothing to evaluate on"),
    ("_mixing", {"dataset": "a,b", "interleave_probs": [0.5, 0.5]}, "interleave_probs", "no effect with mix_strategy"),
    (
        "_mixing",
        {"dataset": "a,b", "mix_strategy": "interleave_under", "interleave_probs": "0.5,0.3,0.2"},
        "interleave_probs",
        "expected 2 shares",
    ),
    (
        "_mixing",
        {"dataset": "a,b", "mix_strategy": "interleave_under", "interleave_probs": "0.5,0.6"},
        "interleave_probs",
        "add up to 1",
    ),
    ("_streaming", {"streaming": True}, "max_steps", "max_steps above 0"),
    ("_streaming", {"streaming": True, "max_steps": 5, "val_size": 0.1}, "val_size", "a number of rows"),
    ("_streaming", {"streaming": True, "max_steps": 5, "max_samples": 9}, "max_samples", "not together"),
    ("_streaming", {"streaming": True, "max_steps": 5, "tokenized_path": "a"}, "tokenized_path", "not together"),
    ("_streaming", {"streaming": True, "max_steps": 5, "group_by_length": True}, "group_by_length", "lengths"),
    ("_faults", {"llamafactory_faults": "detailed_thinkin_off"}, "llamafactory_faults", "detailed_thinking_off"),
    ("_warmup", {"warmup_ratio": 0.1, "warmup_steps": 10}, "warmup_ratio", "keep one"),
    ("_steps", {"warmup_steps": 1.5}, "warmup_steps", "whole number of steps"),
    ("_steps", {"logging_steps": 1.5}, "logging_steps", "whole number of steps"),
    ("_steps", {"save_steps": 1.5}, "save_steps", "whole number of steps"),
    ("_steps", {"eval_steps": 1.5}, "eval_steps", "whole number of steps"),
    ("_steps", {"max_steps": 0}, "max_steps", "at least 1 step"),
    (
        "_order_of_rows",
        {"group_by_length": True, "train_sampling_strategy": "sequential"},
        "group_by_length",
        "contradicts train_sampling_strategy",
    ),
    ("_order_of_rows", {"group_by_length": True, "disable_shuffling": True}, "disable_shuffling", "contradicts"),
    ("_gradient_checkpointing", {"gradient_checkpointing": False}, "gradient_checkpointing", "checkpointing: true"),
    (
        "_gradient_checkpointing",
        {"gradient_checkpointing": True, "disable_gradient_checkpointing": True},
        "gradient_checkpointing",
        "checkpointing: false",
    ),
    (
        "_gradient_checkpointing",
        {"gradient_checkpointing_kwargs": {"use_reentrant": False}},
        "gradient_checkpointing_kwargs",
        "use_reentrant_gc",
    ),
    ("_loading", {"dataloader_prefetch_factor": 2}, "dataloader_prefetch_factor", "dataloader_num_workers"),
    ("_loading", {"dataloader_persistent_workers": True}, "dataloader_persistent_workers", "dataloader_num_workers"),
]


@pytest.mark.parametrize(
    ("rule", "mapping", "key", "told"), BROKEN, ids=[f"{rule}-{said}" for rule, said, _, _ in BROKEN]
)
def test_a_rule_refuses(rule: str, mapping: dict[str, Any], key: str, told: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse(mapping)
    violations = [one for one in refused.value.violations if one.path != "spec.training.stage"]  # not built yet
    (violation,) = violations
    assert violation.path == f"spec.training.{key}"
    assert told in violation.message


def test_each_rule_is_tried() -> None:
    assert {rule.__name__ for rule in (*general.RULES, *data.RULES)} <= {rule for rule, _, _, _ in BROKEN}


KEPT: list[dict[str, Any]] = [
    {"bf16": True, "pure_bf16": True},
    {"pure_bf16": True, "deepspeed": "zero2"},
    {"tf32": False, "use_cpu": True},
    {"mask_history": True},
    {"train_on_prompt": True},
    {"val_size": 0.1, "eval_strategy": "steps"},
    {"val_size": 100, "do_eval": True},
    {"eval_dataset": "dev", "eval_strategy": "epoch", "lr_scheduler_type": "reduce_lr_on_plateau"},
    {"adapter_name_or_path": "saves/a", "use_dora": True, "use_rslora": True},
    {"warmup_steps": 0.1},
    {"warmup_steps": 0, "warmup_ratio": 0.1},
    {"logging_steps": 0.1, "save_steps": 0.25, "max_steps": 10},
    {"group_by_length": True, "train_sampling_strategy": "group_by_length"},
    {"adafactor": True},
    {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
    {"gradient_checkpointing": False, "disable_gradient_checkpointing": True},
    {"use_reentrant_gc": False, "activation_checkpointing_kwargs": {"use_reentrant": False}},
    {"dataloader_num_workers": 2, "dataloader_prefetch_factor": 2, "dataloader_persistent_workers": True},
    {"deepspeed": {}},
    {"deepspeed": ""},
]  # fmt: skip


@pytest.mark.parametrize("mapping", KEPT, ids=str)
def test_no_rule_refuses(mapping: dict[str, Any]) -> None:
    parse(mapping)


BUILT = [name for name, zero in FILES.items() if not zero.refused]


@pytest.mark.parametrize("name", [*SHORT, *BUILT, *(f"./llamafactory/examples/deepspeed/{name}" for name in BUILT)])
def test_deepspeed_is_known_by_name(name: str) -> None:
    assert parse({"deepspeed": name}).training.deepspeed == name


@pytest.mark.shows("use_cpu", "fp16", "torch_empty_cache_steps")
@pytest.mark.parametrize("keys", [{"fp16": True}, {"torch_empty_cache_steps": 5}, {"tf32": True}])
def test_what_only_a_gpu_does_is_refused_on_a_cpu_that_is_asked_for(keys: dict[str, Any]) -> None:
    parse(keys)
    with pytest.raises(ConfigInvalid):
        parse({**keys, "use_cpu": True})
