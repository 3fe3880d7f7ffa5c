"""No key is forgotten: LLaMA-Factory's with their defaults, and Hugging Face's of the installed transformers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.config import load_yaml
from finetune_trainer.config.key import info
from finetune_trainer.config.spellings import GONE, RENAMED
from finetune_trainer.config.train_config import FIELDS, GROUPS

LLAMAFACTORY: dict[str, dict[str, Any]] = load_yaml(
    (Path(__file__).parent / "llamafactory-0.9.5.yaml").read_text(encoding="utf-8")
)
CLASSES = list(LLAMAFACTORY.items())

# Defaults that differ on purpose: where LLaMA-Factory's null stands for "whatever", ours says what that is.
OTHER_DEFAULT = {"download_mode": "reuse_dataset_if_exists"}
DERIVED = {"compute_dtype", "device_map", "model_max_length", "block_diag_attn"}


def test_the_list_has_all_241_keys() -> None:
    assert sum(len(keys) for keys in LLAMAFACTORY.values()) == 241


@pytest.mark.parametrize(("name", "keys"), CLASSES, ids=[name for name, _ in CLASSES])
def test_llamafactory_keys_stand_with_their_defaults(name: str, keys: dict[str, Any]) -> None:
    for key, default in keys.items():
        if key in DERIVED:
            assert key in GONE
            continue
        ours = FIELDS[key][1].default
        plain = (",".join(ours) or None) if isinstance(ours, tuple) else ours
        assert plain == OTHER_DEFAULT.get(key, default), f"{name}.{key}"


def test_hugging_face_keys_stand_with_their_defaults() -> None:
    from transformers import Seq2SeqTrainingArguments

    ours_on_purpose = {
        "do_train",  # a job that trains is the rule here
        "logging_nan_inf_filter",  # a loss that is not a number must be seen
        "remove_unused_columns",  # LLaMA-Factory's own choice
        "debug",
        "fsdp",
        "optim_target_modules",
        "label_names",
        "include_for_metrics",
        "report_to",  # lists, empty or "none" where theirs are None or ""
    }
    known = FIELDS.keys() | RENAMED.keys() | GONE.keys()
    for field in dataclasses.fields(Seq2SeqTrainingArguments):
        assert field.name in known, f"transformers has a new key: {field.name}"
        if field.name in FIELDS and field.name not in ours_on_purpose:
            assert FIELDS[field.name][1].default == field.default, field.name


DROPPED = """warmup_ratio logging_dir group_by_length evaluation_strategy save_safetensors no_cuda
include_tokens_per_second jit_mode_eval use_ipex ray_scope half_precision_backend fp16_backend fsdp_min_num_params
fsdp_transformer_layer_cls_to_wrap push_to_hub_token push_to_hub_model_id push_to_hub_organization
tpu_num_cores tpu_metrics_debug past_index mp_parameters torchdynamo adafactor use_mps_device
include_inputs_for_metrics
per_gpu_train_batch_size per_gpu_eval_batch_size dispatch_batches split_batches sharded_ddp xpu_backend
use_legacy_prediction_loop tp_size
overwrite_output_dir fp16_opt_level"""


@pytest.mark.parametrize("key", DROPPED.split())
def test_keys_that_transformers_dropped_are_still_known(key: str) -> None:
    assert key in FIELDS or key in RENAMED


def test_no_key_stands_in_two_groups_or_under_two_names() -> None:
    assert len(FIELDS) == sum(len(group.model_fields) for group in GROUPS.values())
    assert not FIELDS.keys() & (RENAMED.keys() | GONE.keys())
    assert set(RENAMED.values()) <= FIELDS.keys()


@pytest.mark.parametrize("key", FIELDS)
def test_each_key_has_one_sentence(key: str) -> None:
    sentence = FIELDS[key][1].description or ""
    assert sentence[:1].isupper() or sentence.startswith("zero0")
    assert sentence.endswith(".")
    assert len(sentence) < 130


@pytest.mark.parametrize("key", FIELDS)
def test_each_default_is_a_value_that_may_be_said(key: str) -> None:
    """Writing out the defaults changes nothing, so `accepts` and bounds fit the types."""
    attribute, field = FIELDS[key]
    for value in (field.default, *info(field).accepts):
        if value is not None:
            checked = GROUPS[attribute].model_validate({key: value})
            assert getattr(checked, key) == value
