"""TrainConfig -> transformers' TrainingArguments, for the installed version and for an older one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments

from finetune_trainer.config import ConfigInvalid, TrainConfig, parse, to_training_arguments
from finetune_trainer.config.key import info
from finetune_trainer.config.train_config import GROUPS
from finetune_trainer.config.types import choices, kinds

INSTALLED = frozenset(field.name for field in dataclasses.fields(TrainingArguments) if field.init)
# Of the fields that 5.23 no longer has, and those that 4.53 did not have yet, the ones that matter here.
LEGACY = (INSTALLED | {"warmup_ratio", "group_by_length", "logging_dir", "save_safetensors", "no_cuda"}) - {
    "train_sampling_strategy",
    "dataloader_in_order",
    "dataloader_multiprocessing_context",
    "activation_checkpointing",
    "activation_checkpointing_kwargs",
}


def translated(mapping: dict[str, Any], accepted: frozenset[str] = INSTALLED) -> dict[str, Any]:
    return to_training_arguments(parse(mapping), accepted=accepted)


def test_the_real_class_takes_it(tmp_path: Path) -> None:
    said = {
        "use_cpu": True, "learning_rate": "1e-4", "num_train_epochs": 2, "warmup_ratio": 0.03,
        "lr_scheduler_type": "cosine",
        "eval_strategy": "steps", "eval_steps": 5, "val_size": 0.1, "save_steps": 10, "logging_steps": 1, "seed": 7,
        "max_grad_norm": 0.5, "gradient_accumulation_steps": 4, "group_by_length": True,
        "bf16": True, "include_num_input_tokens_seen": True, "optim": "sgd", "save_total_limit": 2,
    }  # fmt: skip
    arguments = TrainingArguments(output_dir=str(tmp_path), **translated(said))
    assert arguments.learning_rate == 1e-4
    assert arguments.eval_strategy.value == "steps"
    assert arguments.train_sampling_strategy == "group_by_length"
    assert arguments.report_to == []
    assert arguments.remove_unused_columns is False
    assert arguments.save_steps == 10
    assert arguments.seed == 7


@pytest.mark.parametrize("total", [1, 7, 100, 333, 1000])
@pytest.mark.parametrize("ratio", [0.0, 0.03, 0.1, 0.5, 0.999])
def test_the_ratio_gives_the_steps_that_it_always_gave(ratio: float, total: int, tmp_path: Path) -> None:
    import math

    arguments = TrainingArguments(output_dir=str(tmp_path), **translated({"warmup_ratio": ratio, "use_cpu": True}))
    assert arguments.get_warmup_steps(total) == math.ceil(total * ratio)


@pytest.mark.parametrize(
    ("said", "new", "legacy"),
    [
        ({}, {"warmup_steps": 0}, {"warmup_steps": 0, "warmup_ratio": 0.0}),
        ({"warmup_ratio": 0.1}, {"warmup_steps": 0.1}, {"warmup_steps": 0, "warmup_ratio": 0.1}),
        ({"warmup_steps": 0.1}, {"warmup_steps": 0.1}, {"warmup_steps": 0, "warmup_ratio": 0.1}),
        ({"warmup_steps": 20}, {"warmup_steps": 20}, {"warmup_steps": 20, "warmup_ratio": 0.0}),
        ({"group_by_length": True}, {"train_sampling_strategy": "group_by_length"}, {"group_by_length": True}),
        (
            {"train_sampling_strategy": "group_by_length"},
            {"train_sampling_strategy": "group_by_length"},
            {"group_by_length": True},
        ),
        ({"disable_shuffling": True}, {"train_sampling_strategy": "sequential"}, {"group_by_length": False}),
        ({"train_sampling_strategy": "sequential"}, {"train_sampling_strategy": "sequential"}, {}),
        ({"adafactor": True}, {"optim": "adafactor"}, {"optim": "adafactor"}),
        ({"no_cuda": True}, {"use_cpu": True}, {"use_cpu": True}),
        (
            {"evaluation_strategy": "epoch", "val_size": 9},
            {"eval_strategy": "epoch"},
            {"eval_strategy": "epoch"},
        ),
        ({}, {"label_names": ["labels"], "report_to": "none"}, {"label_names": ["labels"], "report_to": "none"}),
        ({"finetuning_type": "lora"}, {"ddp_find_unused_parameters": False}, {"ddp_find_unused_parameters": False}),
        ({"finetuning_type": "full"}, {"ddp_find_unused_parameters": None}, {"ddp_find_unused_parameters": None}),
        (
            {"ddp_find_unused_parameters": True, "use_reentrant_gc": False},
            {"ddp_find_unused_parameters": True},
            {},
        ),
        ({"save_steps": 0.5}, {"save_steps": 0.5}, {"save_steps": 0.5}),
        (
            {"include_num_input_tokens_seen": "all"},
            {"include_num_input_tokens_seen": False},  # the trainer counts by itself
            {"include_num_input_tokens_seen": False},
        ),
        ({"debug": "underflow_overflow"}, {"debug": "underflow_overflow"}, {"debug": "underflow_overflow"}),
        ({"logging_dir": "logs", "report_to": "tensorboard"}, {"report_to": "none"}, {"logging_dir": "logs"}),
    ],
    ids=str,
)
def test_both_versions(said: dict[str, Any], new: dict[str, Any], legacy: dict[str, Any]) -> None:
    assert translated(said).items() >= new.items()
    assert translated(said, LEGACY).items() >= legacy.items()


@pytest.mark.parametrize("accepted", [INSTALLED, LEGACY], ids=["installed", "legacy"])
def test_only_fields_that_the_class_has(accepted: frozenset[str]) -> None:
    assert translated({"warmup_ratio": 0.1, "group_by_length": True}, accepted).keys() <= accepted


def test_a_key_that_the_version_does_not_know_is_not_lost() -> None:
    with pytest.raises(ConfigInvalid, match="_context: the installed transformers has no such setting"):
        translated({"dataloader_multiprocessing_context": "spawn", "dataloader_num_workers": 1}, LEGACY)


WORDS = {"lr_scheduler_type": "cosine", "ddp_backend": "gloo", "dataloader_multiprocessing_context": "spawn"}


def other_value(name: str) -> Any:
    """A value that may be said, and is not the default."""
    field = GROUPS["training"].model_fields[name]
    if info(field).accepts:
        return next(value for value in reversed(info(field).accepts) if value)
    words = [word for word in choices(field.annotation) if word not in (field.default, "no")]
    if words:
        return WORDS.get(name, words[0])
    samples = {
        "boolean": not field.default,
        "integer": 3,
        "number": 0.5,
        "string": "some/name",
        "object": {"a": 1},
        "array": "a,b",
    }
    return samples[kinds(field.annotation)[-1]]


PASSED = [
    name for name, field in GROUPS["training"].model_fields.items() if info(field).passed and not info(field).refused
]


@pytest.mark.parametrize("name", PASSED)
def test_no_passed_key_is_lost(name: str) -> None:
    """Whatever the rules say of it; that it has its effect is shown by the tests that the table of keys names."""
    plain = TrainConfig(training=GROUPS["training"]())
    said = TrainConfig(training=GROUPS["training"].model_validate({name: other_value(name)}))
    assert to_training_arguments(said, accepted=INSTALLED) != to_training_arguments(plain, accepted=INSTALLED)
