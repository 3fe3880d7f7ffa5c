"""TrainConfig -> DeepSpeed's config."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments
from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

from finetune_trainer.config import parse
from finetune_trainer.config.hf import to_training_arguments
from finetune_trainer.config.zero import FILES, SHORT
from finetune_trainer.deepspeed import filled, resolve


def zero(deepspeed: str) -> dict[str, Any]:
    config = resolve(parse({"deepspeed": deepspeed}), world_size=2)
    assert config is not None
    section = config["zero_optimization"]
    assert isinstance(section, dict)
    return section


@pytest.mark.parametrize("said", [{}, {"deepspeed": None}, {"deepspeed": ""}], ids=str)
def test_without_deepspeed(said: dict[str, Any]) -> None:
    assert resolve(parse(said), world_size=8) is None


def test_own_config_stays_as_it_is() -> None:
    own = {"zero_optimization": {"stage": 1}, "train_batch_size": "auto"}
    cfg = parse({"deepspeed": own})
    config = resolve(cfg, world_size=8)
    assert config == own
    assert config is not None
    config["zero_optimization"]["stage"] = 3
    assert cfg.training.deepspeed == own, "the caller may change what it got"


@pytest.mark.parametrize("name", [name for name, known in FILES.items() if not known.refused and "fp8" not in name])
def test_file_names_and_short_names_mean_the_same(name: str) -> None:
    short = name.replace("ds_z", "zero").removesuffix("_config.json")
    assert zero(f"examples/deepspeed/{name}") == zero(short)


@pytest.mark.parametrize(
    ("name", "stage", "offloaded"),
    [
        ("zero0", 0, set()),
        ("zero1", 1, set()),
        ("zero2", 2, set()),
        ("zero2_offload", 2, {"offload_optimizer"}),
        ("zero3", 3, set()),
        ("zero3_offload", 3, {"offload_optimizer", "offload_param"}),
        ("ds_z3_fp8_config.json", 3, {"offload_optimizer"}),
    ],
)
def test_stage_and_offload(name: str, stage: int, offloaded: set[str]) -> None:
    section = zero(name)
    assert section["stage"] == stage
    assert {key for key in section if key.startswith("offload")} == offloaded
    assert section["overlap_comm"] is False
    assert section["contiguous_gradients"] is True
    assert section.get("round_robin_gradients", False) is (stage == 2)
    assert section.get("stage3_gather_16bit_weights_on_model_save", False) is (stage == 3)


def test_the_whole_batch_is_stated() -> None:
    cfg = parse({"deepspeed": "zero3", "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4})
    config = resolve(cfg, world_size=8)
    assert config is not None
    assert config["train_batch_size"] == 64
    assert config["train_micro_batch_size_per_gpu"] == config["gradient_accumulation_steps"] == "auto"


@pytest.mark.parametrize("name", SHORT)
def test_transformers_fills_it_and_finds_another_world(name: str, tmp_path: Path) -> None:
    """The real class fills every "auto" but those that hang on the model, and compares the batch with its world."""
    from transformers import TrainingArguments
    from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")

    def filled(world_size: int) -> HfTrainerDeepSpeedConfig:
        config = HfTrainerDeepSpeedConfig(resolve(parse({"deepspeed": name}), world_size=world_size))
        config.trainer_config_process(arguments)
        return config

    same, other = filled(1), filled(2)
    assert same.mismatches == []
    assert same.config["train_micro_batch_size_per_gpu"] == 8
    assert same.config["gradient_clipping"] == 1.0
    assert same.config["bf16"]["enabled"] is False
    assert any("train_batch_size=16" in line for line in other.mismatches)


INLINE = {
    "train_batch_size": "auto",
    "gradient_clipping": "auto",
    "bf16": {"enabled": "auto"},
    "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto", "eps": "auto", "weight_decay": "auto"}},
    "scheduler": {"type": "WarmupLR", "params": {"warmup_min_lr": "auto", "warmup_max_lr": "auto"}},
    "zero_optimization": {"stage": 2, "reduce_bucket_size": "auto"},
}
WIDTHS = {"reduce_bucket_size", "stage3_prefetch_bucket_size", "stage3_param_persistence_threshold"}


@pytest.mark.parametrize("said", ["zero2", "zero3", INLINE], ids=["zero2", "zero3", "inline"])
def test_auto_is_told_as_transformers_fills_it(said: Any, tmp_path: Path) -> None:
    keys = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 3, "max_grad_norm": 0.7, "bf16": True}
    cfg = parse({**keys, "deepspeed": said, "learning_rate": 2.5e-5, "adam_beta2": 0.95, "weight_decay": 0.01})
    config = resolve(cfg, world_size=1)
    assert config is not None
    accepted = frozenset(field.name for field in dataclasses.fields(TrainingArguments) if field.init)
    arguments = to_training_arguments(cfg, accepted=accepted)
    arguments |= {"output_dir": str(tmp_path), "use_cpu": True, "deepspeed": None}
    filler = HfTrainerDeepSpeedConfig(config)
    filler.trainer_config_process(TrainingArguments(**{key: arguments[key] for key in arguments if key in accepted}))
    found = filled(config, cfg, world_size=1)
    assert found, "nothing is auto"
    for path, value in found.items():
        theirs = filler.get_value(path)
        assert theirs == (value if value is not None else "auto"), path
    assert {path.rpartition(".")[2] for path, value in found.items() if value is None} <= WIDTHS
