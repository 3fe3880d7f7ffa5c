"""What the first users run: read as it is, and the same in the manifest that lies beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune_operator import spec
from finetune_trainer.config import dump, load, load_yaml
from finetune_trainer.deepspeed import resolve

EXAMPLES = Path(__file__).parents[4] / "examples"
FOLDER = EXAMPLES / "llamafactory"
TWINS = {
    "telechat3_full_sft": "telechat3-36b",
    "opendataarena_llama31_8b": "opendataarena-llama31-8b",
    "opendataarena_qwen25_7b": "opendataarena-qwen25-7b",
    "opendataarena_qwen25_7b_long_cot": "opendataarena-qwen25-7b-long-cot",
    "qwen2_7b_full": "qwen2-7b-full",
    "qwen2_7b_lora": "qwen2-7b-lora",
    "qwen2_7b_qlora": "qwen2-7b-qlora",
}
"""LLaMA-Factory's YAML -> the manifest around it."""
ELSEWHERE = {"model_name_or_path", "dataset"}
"""Said by spec.model and spec.datasets."""


def test_no_file_is_left_out() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {*TWINS, "qwen2_7b_merge"}


@pytest.mark.parametrize(("file", "manifest"), TWINS.items())
def test_a_file_and_the_manifest_around_it_say_the_same(file: str, manifest: str) -> None:
    said = dump(load(FOLDER / f"{file}.yaml"))
    body = load_yaml((EXAMPLES / f"{manifest}.yaml").read_text(encoding="utf-8"))
    spec.parse(body)
    training = {name: value for name, value in body["spec"]["training"].items() if value is not None}
    written = load_yaml((FOLDER / f"{file}.yaml").read_text(encoding="utf-8"))
    assert {key: value for key, value in written.items() if key not in ELSEWHERE and value is not None} == {
        key: value for key, value in training.items() if key not in ELSEWHERE
    }
    assert said["output_dir"] == training["output_dir"]


def test_telechat3s_batch_is_that_of_32_gpus() -> None:
    cfg = load(FOLDER / "telechat3_full_sft.yaml")
    assert cfg.training.ddp_timeout == 180_000_000
    assert cfg.training.resume_from_checkpoint is None
    deepspeed = resolve(cfg, world_size=32)
    assert deepspeed is not None
    assert deepspeed["zero_optimization"]["stage"] == 3
    assert deepspeed["train_batch_size"] == 2 * 2 * 32
