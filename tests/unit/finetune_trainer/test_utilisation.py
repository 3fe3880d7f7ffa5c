"""How much of what the GPUs could do goes into the model."""

from __future__ import annotations

from typing import Any

import pytest

from finetune_trainer.config import TrainConfig, parse
from finetune_trainer.progress import utilisation
from finetune_trainer.progress.speed import Moment, Speed

MODEL = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32000, "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip
A100, H100 = "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"


def cfg(**keys: Any) -> TrainConfig:
    said = {
        "stage": "sft", "template": "default", "dataset": "rows", "output_dir": "saved", "model_name_or_path": "model",
        "finetuning_type": "full", "bf16": True, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4,
    }  # fmt: skip
    return parse({**said, **keys})


def speed(tokens_per_step: int, seconds_per_step: float) -> Speed:
    found = Speed(total_steps=100)
    found.begin(Moment(step=10, seconds=0.0, tokens=5))
    for step in (1, 2, 3):
        found.add(Moment(step=10 + step, seconds=step * seconds_per_step, tokens=5 + step * tokens_per_step))
    return found


def test_it_is_palms_formula_over_all_gpus() -> None:
    measured = utilisation.of(cfg(), MODEL, [A100] * 8)
    assert measured is not None
    rows = 2 * 4 * 8
    rate = rows * 2048 / 20.0
    expected = rate * (6 * 6_607_077_376 + 12 * 32 * 4096 * 2048) / (8 * 312e12)
    assert measured.at(speed(rows * 2048, 20.0)) == pytest.approx(expected, rel=1e-3)


def test_different_gpus_add_up() -> None:
    same, mixed = utilisation.of(cfg(), MODEL, [A100, A100]), utilisation.of(cfg(), MODEL, [A100, H100])
    assert same is not None
    assert mixed is not None
    assert (same.peak, mixed.peak) == (624e12, 1301.5e12)


@pytest.mark.parametrize(
    ("keys", "model", "gpus"),
    [
        ({}, MODEL, [A100, "NVIDIA Unheard Of"]),
        ({}, MODEL, [None]),
        ({"stage": "kto"}, MODEL, [A100]),
        ({}, {"model_type": "mamba", "hidden_size": 64}, [A100]),
        ({}, {}, [A100]),
        ({"bf16": False}, {**MODEL, "torch_dtype": "float32"}, [A100]),
    ],
)
def test_what_is_not_known_is_not_guessed(keys: dict[str, Any], model: dict[str, Any], gpus: list[str | None]) -> None:
    assert utilisation.of(cfg(**keys), model, gpus) is None


def test_float32_products_with_tf32_are_measured_by_its_rate() -> None:
    measured = utilisation.of(cfg(bf16=False, tf32=True), {**MODEL, "torch_dtype": "float32"}, [A100])
    assert measured is not None
    assert measured.peak == 156e12


def test_before_the_first_step_nothing_is_known() -> None:
    measured, begun = utilisation.of(cfg(), MODEL, [A100]), Speed(total_steps=9)
    assert measured is not None
    assert measured.at(begun) is None
    begun.begin(Moment(step=0, seconds=0.0, tokens=0))
    assert measured.at(begun) is None
