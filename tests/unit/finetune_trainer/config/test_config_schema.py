"""The schema that the CRD takes over."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from finetune_trainer.config import load_yaml, schema
from finetune_trainer.config.spellings import RENAMED
from finetune_trainer.config.train_config import FIELDS

PROPERTIES: dict[str, dict[str, Any]] = schema()["properties"]


def test_each_key_stands_there_nullable_described_and_without_default() -> None:
    assert PROPERTIES.keys() == FIELDS.keys() | RENAMED.keys()
    for name, definition in PROPERTIES.items():
        assert definition["nullable"] is True, name
        assert definition["description"], name
        assert "default" not in definition, name
        assert ("type" in definition) != ("anyOf" in definition), name


TWO_TYPES = {
    "deepspeed", "dataset", "eval_dataset", "adapter_name_or_path", "lora_target", "additional_target", "report_to",
    "resume_from_checkpoint", "include_num_input_tokens_seen", "label_names",
}  # fmt: skip


@pytest.mark.parametrize("key", sorted(TWO_TYPES))
def test_keys_of_two_types_have_no_type(key: str) -> None:
    assert "type" not in PROPERTIES[key]
    assert len(PROPERTIES[key]["anyOf"]) == 2


@pytest.mark.parametrize(
    ("key", "kind"),
    [("bf16", "boolean"), ("cutoff_len", "integer"), ("learning_rate", "number"), ("stage", "string"),
     ("max_samples", "integer"), ("lr_scheduler_kwargs", "object"), ("save_steps", "number")],
)  # fmt: skip
def test_keys_of_one_type(key: str, kind: str) -> None:
    assert PROPERTIES[key]["type"] == kind


def test_description_says_default_choices_and_what_is_refused() -> None:
    assert PROPERTIES["learning_rate"]["description"] == "Highest learning rate. Default: 5e-05."
    assert PROPERTIES["finetuning_type"]["description"].endswith("Default: lora. One of: lora, oft, freeze, full.")
    assert PROPERTIES["label_names"]["description"].endswith(
        "Default: null. Other values than labels are refused: the stage knows which columns are labels; "
        "leave it out, or write labels."
    )


def test_it_is_a_json_schema_that_keeps_unknown_keys() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema()["x-kubernetes-preserve-unknown-fields"] is True
    jsonschema.validate(load_yaml("learning_rate: 1e-5\ndeepspeed: zero3\nlearning_rat: 1"), schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"bf16": "yes"}, schema())
