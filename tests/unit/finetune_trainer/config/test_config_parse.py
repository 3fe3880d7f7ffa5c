"""What is read, and what each wrong key is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from finetune_trainer.config import ConfigInvalid, TrainConfig, dump, load, parse
from finetune_trainer.config.train_config import FIELDS


def violations(mapping: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigInvalid) as refused:
        parse(mapping)
    return [str(violation) for violation in refused.value.violations]


READ = [
    ("cutoff_len", 3.0, 3),
    ("cutoff_len", "4096", 4096),
    ("learning_rate", "1e-5", 1e-5),
    ("learning_rate", 1, 1.0),
    ("num_train_epochs", 3, 3.0),
    ("bf16", True, True),
    ("dataset", "identity, alpaca_en_demo", ("identity", "alpaca_en_demo")),
    ("dataset", ["identity", "alpaca_en_demo"], ("identity", "alpaca_en_demo")),
    ("lora_target", "q_proj,v_proj", ("q_proj", "v_proj")),
    ("lora_target", ["q_proj"], ("q_proj",)),
    ("adapter_name_or_path", "saves/a", ("saves/a",)),
    ("report_to", "none", ("none",)),
    ("report_to", ["none"], ("none",)),
    ("deepspeed", {"zero_optimization": {"stage": 2}}, {"zero_optimization": {"stage": 2}}),
    ("deepspeed", '{"zero_optimization": {"stage": 2}}', {"zero_optimization": {"stage": 2}}),
    ("deepspeed", "zero3", "zero3"),
    ("gradient_checkpointing_kwargs", '{"use_reentrant": true}', {"use_reentrant": True}),
    ("include_num_input_tokens_seen", True, True),
    ("include_num_input_tokens_seen", "all", "all"),
    ("resume_from_checkpoint", True, True),
    ("packing", False, False),
    ("use_dora", False, False),
    ("ddp_timeout", 180000000, 180000000),
]


@pytest.mark.parametrize(("key", "said", "read"), READ, ids=[f"{key}={said}" for key, said, _ in READ])
def test_a_value_is_read(key: str, said: object, read: object) -> None:
    cfg = parse({key: said})
    values = [getattr(group, key) for _, group in cfg if hasattr(group, key)]
    assert values == [read]
    assert [type(value) for value in values] == [type(read)]


def test_nulls_are_defaults() -> None:
    cfg = parse({"resume_from_checkpoint": None, "learning_rate": None, "report_to": None, "deepspeed": None})
    assert cfg == parse({})
    assert dump(cfg) == {}


REFUSED = [
    ({"learning_rat": 1e-5}, "spec.training.learning_rat: unknown key; did you mean learning_rate?"),
    ({"xyzzy": 1}, "spec.training.xyzzy: unknown key"),
    ({"cutoff_len": True}, "spec.training.cutoff_len: expected a whole number, got true"),
    ({"cutoff_len": 1.5}, "spec.training.cutoff_len: expected a whole number, got 1.5"),
    ({"learning_rate": "fast"}, "spec.training.learning_rate: expected a number, got fast"),
    ({"learning_rate": float("inf")}, "spec.training.learning_rate: expected a number, got inf"),
    ({"learning_rate": -1}, "spec.training.learning_rate: must be greater than or equal to 0, got -1"),
    ({"bf16": "yes"}, "spec.training.bf16: expected true or false, got yes"),
    ({"bf16": 1}, "spec.training.bf16: expected true or false, got 1"),
    ({"template": 3}, "spec.training.template: expected text, got 3"),
    ({"dataset": [1]}, "spec.training.dataset: expected text or a list of names, got [1]"),
    ({"deepspeed": 3}, "spec.training.deepspeed: expected text or a mapping, got 3"),
    ({"deepspeed": "{oops"}, "spec.training.deepspeed: expected text or a mapping, got {oops"),
    ({"lr_scheduler_kwargs": "fast"}, "spec.training.lr_scheduler_kwargs: expected a mapping, got fast"),
    (
        {"run_name": "${oc.env:USER}"},
        (
            "spec.training.run_name: ${oc.env:USER} can't be filled in: in a manifest only ${key} of another key "
            "under training can, and the operator's environment is not yours; write the value itself"
        ),
    ),
    (
        {"finetuning_type": "ful"},
        "spec.training.finetuning_type: expected one of lora, oft, freeze, full, got ful; did you mean full?",
    ),
    (
        {"evaluation_strategy": "steps", "eval_strategy": "no"},
        "spec.training.eval_strategy: contradicts evaluation_strategy, which is the same key; keep one of them",
    ),
    (
        {"use_cache": False},
        "spec.training.use_cache: called use_kv_cache since LLaMA-Factory 0.9.4; training never keeps a cache",
    ),
    (
        {"compute_dtype": "bfloat16"},
        "spec.training.compute_dtype: follows from other keys (bf16, fp16, pure_bf16); leave it out",
    ),
]


@pytest.mark.parametrize(("mapping", "told"), REFUSED, ids=[told for _, told in REFUSED])
def test_a_wrong_key_is_told(mapping: dict[str, Any], told: str) -> None:
    assert violations(mapping) == [told]


def test_what_is_refused_for_good_says_why_and_what_works() -> None:
    (told,) = violations({"ray_num_workers": 4})
    assert told.startswith("spec.training.ray_num_workers: 4: Ray is not supported: torchrun starts the ranks")


@pytest.mark.shows("hf_hub_token", "ms_hub_token", "om_hub_token")
@pytest.mark.parametrize(
    "key", ["hf_hub_token", "ms_hub_token", "om_hub_token", "hub_token", "push_to_hub_token", "swanlab_api_key"]
)
def test_a_secret_is_refused_and_not_repeated(key: str) -> None:
    (told,) = violations({key: "s3cr3t"})
    assert told.startswith(f"spec.training.{key}: a secret must not stand in a configuration")
    assert "s3cr3t" not in told


def test_all_violations_come_at_once_in_the_order_of_the_file() -> None:
    told = violations(
        {"mask_history": True, "learning_rat": 1, "train_on_prompt": True, "cutoff_len": "x", "flash_attn": "fa9"}
    )
    assert [line.split(":")[0].removeprefix("spec.training.") for line in told] == [
        "mask_history",
        "learning_rat",
        "cutoff_len",
        "flash_attn",
    ]


def test_a_rule_is_silent_about_a_key_that_is_wrong_by_itself() -> None:
    """val_size could not be read, so nobody knows whether there is something to evaluate on."""
    assert violations({"eval_strategy": "steps", "val_size": "ten"}) == [
        "spec.training.val_size: expected a number, got ten"
    ]


def test_old_names_are_read_as_todays() -> None:
    cfg = parse({"evaluation_strategy": "steps", "val_size": 0.1, "no_cuda": True, "per_gpu_train_batch_size": 2})
    assert cfg.training.eval_strategy == "steps"
    assert cfg.training.use_cpu
    assert cfg.training.per_device_train_batch_size == 2
    assert parse({"evaluation_strategy": "no", "eval_strategy": "no"}).training.eval_strategy == "no"


def test_a_violation_names_the_key_as_the_user_wrote_it() -> None:
    (told,) = violations({"evaluation_strategy": "steps"})
    assert told.startswith("spec.training.evaluation_strategy: there is nothing to evaluate on")


def test_dump_is_what_the_user_said(full: dict[str, Any]) -> None:
    cfg = parse(full)
    assert dump(cfg) == full | {"dataset": ["identity", "alpaca_en_demo"]}
    assert parse(dump(cfg)) == cfg


def test_both_doors_give_the_same(full: dict[str, Any], tmp_path: Path) -> None:
    text = "\n".join(f"{key}: {value}" for key, value in full.items()).replace("1e-05", "1e-5").replace("True", "true")
    file = tmp_path / "train.yaml"
    file.write_text(text, encoding="utf-8")
    # What the API server makes of the same text: whole numbers lose their point.
    manifest = {
        key: int(value) if isinstance(value, float) and value.is_integer() else value for key, value in full.items()
    }
    assert load(file) == parse(full) == parse(manifest)
    assert dump(load(file)) == dump(parse(manifest))


def test_a_config_can_not_be_changed(full: dict[str, Any]) -> None:
    cfg = parse(full)
    with pytest.raises(ValidationError):
        cfg.training.learning_rate = 1.0
    with pytest.raises(ValidationError):
        cfg.training = TrainConfig().training


@pytest.fixture
def full() -> dict[str, Any]:
    return {
        "model_name_or_path": "Qwen/Qwen2-7B",
        "template": "qwen",
        "dataset": "identity,alpaca_en_demo",
        "cutoff_len": 8192,
        "output_dir": "saves/x",
        "learning_rate": 1e-5,
        "num_train_epochs": 3.0,
        "bf16": True,
    }


ODD: list[Any] = [
    True,
    0,
    -1,
    1.5,
    1e400,
    10**400,
    "",
    "x",
    "9" * 5000,
    [],
    [None],
    [[1]],
    {},
    {"a": [{}]},
    {1: 2},
    "{}",
]


@pytest.mark.parametrize("value", ODD, ids=lambda value: str(value)[:20] if not isinstance(value, int) else "int")
def test_no_value_of_any_key_is_more_than_a_violation(value: object) -> None:
    for key in FIELDS:
        try:
            cfg = parse({key: value})
        except ConfigInvalid:
            continue
        assert dump(cfg).keys() <= {key}


def test_keys_that_are_no_text_are_unknown() -> None:
    assert violations({1: 2}) == ["spec.training.1: unknown key"]


def test_a_manifest_opens_no_file(tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text("{}", encoding="utf-8")
    (told,) = violations({"deepspeed": str(own)})
    assert "no known name and no file" in told
