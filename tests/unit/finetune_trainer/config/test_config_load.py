"""Files: the line of every wrong key, YAML as the API server reads it, and DeepSpeed files by path."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune_trainer.config import ConfigInvalid, load, load_yaml, parse


def told_by_load(file: Path, text: str, **options: bool) -> list[str]:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigInvalid) as refused:
        load(file, **options)
    return [str(violation).replace(str(file), "train.yaml") for violation in refused.value.violations]


def test_load_names_file_and_line(tmp_path: Path) -> None:
    text = "stage: sft\n\n# what follows is wrong\nlearning_rat: 1e-5\nbf16: ja\n"
    assert told_by_load(tmp_path / "train.yaml", text, complete=False) == [
        "train.yaml:4: learning_rat: unknown key; did you mean learning_rate?",
        "train.yaml:5: bf16: expected true or false, got ja",
    ]


def test_load_asks_for_what_a_training_needs(tmp_path: Path) -> None:
    assert told_by_load(tmp_path / "train.yaml", "stage: sft\n") == [
        "train.yaml:1: model_name_or_path: missing; the hub id or folder of the base model",
        "train.yaml:1: dataset: missing; names of data sets in dataset_info.json",
        "train.yaml:1: output_dir: missing; the folder for all that the run writes",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1\nb: 2\n", "train.yaml:2: not a YAML of keys and values"),
        ("seed: 1\nbf16: true\nseed: 2\n", "train.yaml:3: not a YAML of keys and values: the key seed stands twice"),
        ("- a\n- b\n", "train.yaml: expected keys with values"),
        ("", "train.yaml: expected keys with values"),
        ("? [a, b]\n: 1\n", "train.yaml:1: not a YAML of keys and values"),
        ("a: !!python/object:os.system 1\n", "train.yaml:1: not a YAML of keys and values"),
        ("a: \x07\n", "train.yaml: not a YAML of keys and values"),
    ],
)
def test_load_of_what_is_no_config(text: str, told: str, tmp_path: Path) -> None:
    (line,) = told_by_load(tmp_path / "train.yaml", text)
    assert line.startswith(told)


def test_load_of_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="can't be read"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5), ("1.0e-5", 1e-5), ("1E5", 1e5), ("-2e3", -2e3), ("3.0", 3.0), (".5", 0.5), ("1_000.5", 1000.5),
        ("12", 12), ("1.0.0", "1.0.0"), ("e5", "e5"), ("2024-01-01", "2024-01-01"), ("1e", "1e"), ("null", None),
        ("true", True), ("-", "-"), (".inf", float("inf")),
    ],
)  # fmt: skip
def test_load_yaml_reads_scalars_as_the_api_server_does(text: str, value: object) -> None:
    read = load_yaml(f"key: '-'\nother: {text}" if text != "-" else "other: '-'")["other"]
    assert read == value
    assert type(read) is type(value)


def test_load_reads_the_deepspeed_file_that_is_named(tmp_path: Path) -> None:
    own = tmp_path / "ds_z3_config.json"
    own.write_text('{"zero_optimization": {"stage": 1}}', encoding="utf-8")
    file = tmp_path / "train.yaml"
    file.write_text(f"deepspeed: {own}\n", encoding="utf-8")
    assert load(file, complete=False).training.deepspeed == {"zero_optimization": {"stage": 1}}
    assert parse({"deepspeed": str(own)}).training.deepspeed == str(own), "a manifest opens no file"


@pytest.mark.parametrize(("content", "told"), [("[1]", "holds no JSON object"), ("{", "can't be read as JSON")])
def test_load_of_a_bad_deepspeed_file(content: str, told: str, tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text(content, encoding="utf-8")
    (line,) = told_by_load(tmp_path / "train.yaml", f"seed: 1\ndeepspeed: {own}\n", complete=False)
    assert line.startswith("train.yaml:2: deepspeed: ")
    assert told in line
