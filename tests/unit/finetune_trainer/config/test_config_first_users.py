"""What the first users run is read as it is; what isn't built yet is told, and that alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune_trainer.config import ConfigInvalid, load, load_yaml, parse
from finetune_trainer.deepspeed import resolve

FOLDER = Path(__file__).parent / "first_users"


def test_telechat3_full_sft() -> None:
    cfg = load(FOLDER / "telechat3_full_sft.yaml")
    assert cfg.model.trust_remote_code
    assert cfg.data.dataset == ("identity", "alpaca_en_demo")
    assert cfg.training.ddp_timeout == 180_000_000
    assert cfg.training.warmup_ratio == 0.1
    assert cfg.training.resume_from_checkpoint is None
    deepspeed = resolve(cfg, world_size=32)
    assert deepspeed is not None
    assert deepspeed["zero_optimization"]["stage"] == 3
    assert deepspeed["train_batch_size"] == 2 * 2 * 32


def test_opendataarena_is_told_of_liger_alone() -> None:
    file = FOLDER / "opendataarena_llama3_full_sft.yaml"
    with pytest.raises(ConfigInvalid) as refused:
        load(file)
    assert [str(violation) for violation in refused.value.violations] == [
        f"{file}:23: use_liger_kernel: true is not supported yet; what works: false"
    ]


def test_opendataarena_without_liger() -> None:
    said = load_yaml((FOLDER / "opendataarena_llama3_full_sft.yaml").read_text(encoding="utf-8"))
    cfg = parse(said | {"use_liger_kernel": False}, complete=True)
    assert cfg.training.save_strategy == "epoch"
    assert cfg.training.learning_rate == 2e-5


def test_qwen2_lora() -> None:
    cfg = load(FOLDER / "qwen2_lora_sft.yaml")
    assert cfg.finetuning.lora_target == ("all",)
    assert cfg.training.eval_steps == 500


def test_qwen2_qlora_is_told_of_quantisation_alone() -> None:
    said = load_yaml((FOLDER / "qwen2_lora_sft.yaml").read_text(encoding="utf-8"))
    with pytest.raises(ConfigInvalid) as refused:
        parse(said | {"quantization_bit": 4, "quantization_method": "bnb"})
    assert [violation.path for violation in refused.value.violations] == ["spec.training.quantization_bit"]
