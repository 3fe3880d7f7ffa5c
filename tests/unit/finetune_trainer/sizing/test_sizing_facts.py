"""A model's folder: config.json and the headers of its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.unit.finetune_trainer.sizing.configs import LLAMA_7B

from finetune_trainer.sizing import ArchitectureUnknown, facts, parameters

SMALL = {
    **LLAMA_7B, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "vocab_size": 8,
}  # fmt: skip


def write(folder: Path, config: dict[str, Any], *tensors: tuple[int, ...]) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    for number, shape in enumerate(tensors):
        save_file({"weight": torch.zeros(shape, dtype=torch.bfloat16)}, folder / f"model-{number}.safetensors")
    return folder


def test_headers_are_counted_over_all_files(tmp_path: Path) -> None:
    counted = facts.count(write(tmp_path / "model", SMALL, (8, 16), (4, 4, 2)))
    assert counted is not None
    assert (counted.numbers, counted.stored) == (160, "bfloat16")


def test_a_config_json_alone_is_enough(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", SMALL)
    assert facts.read(folder / "config.json") == facts.read(folder)


def test_the_stored_type_is_the_headers_where_config_json_says_none(tmp_path: Path) -> None:
    silent = {key: value for key, value in SMALL.items() if key != "torch_dtype"}
    assert facts.read(write(tmp_path / "model", silent, (8, 16))).stored == "bfloat16"


def test_an_unknown_family_is_held_against_its_weights(tmp_path: Path) -> None:
    strange = {**SMALL, "model_type": "telechat3"}
    right = parameters.total(facts.read(write(tmp_path / "none", strange)))
    assert facts.read(write(tmp_path / "right", strange, (right,))).assumed
    with pytest.raises(ArchitectureUnknown, match=r"type telechat3 is not known here.*its files have 5,000"):
        facts.read(write(tmp_path / "wrong", strange, (5000,)))


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_a_config_json_that_cannot_be_read_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(facts.FactsMissing, match=r"config\.json"):
        facts.read(tmp_path)


def test_a_folder_without_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(facts.FactsMissing, match=r"there is no config\.json"):
        facts.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x00", b"\xff" * 16, b"\x10" + b"\0" * 7 + b"{"])
def test_weights_that_are_cut_off_are_told(tmp_path: Path, content: bytes) -> None:
    folder = write(tmp_path / "model", SMALL)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(facts.FactsMissing, match="fetch the file again"):
        facts.read(folder)
