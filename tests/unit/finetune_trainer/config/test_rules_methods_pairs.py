"""Keys about pairs of answers and reference models: what is without effect is refused, and what is out of range."""

from __future__ import annotations

from typing import Any

import pytest

from finetune_trainer.config import ConfigInvalid, parse

DPO: dict[str, Any] = {"stage": "dpo"}
BROKEN: list[tuple[dict[str, Any], str, str]] = [
    ({"pref_loss": "ipo"}, "pref_loss", "only stage: dpo"),
    ({"pref_beta": 0.2}, "pref_beta", "only stage: dpo and kto"),
    ({"pref_ftx": 0.2}, "pref_ftx", "only stage: dpo and kto"),
    ({"stage": "kto", "pref_bco_weight": 0.5}, "pref_bco_weight", "not kto"),
    ({"stage": "rm", "dpo_label_smoothing": 0.1}, "dpo_label_smoothing", "not rm"),
    ({"stage": "kto", "simpo_gamma": 1.0}, "simpo_gamma", "not kto"),
    ({"stage": "kto", "ld_alpha": 0.5}, "ld_alpha", "not kto"),
    ({**DPO, "pref_loss": "ipo", "dpo_label_smoothing": 0.1}, "dpo_label_smoothing", "only with pref_loss: sigmoid"),
    ({**DPO, "dpo_label_smoothing": 0.5}, "dpo_label_smoothing", "0.5"),
    ({**DPO, "simpo_gamma": 1.0}, "simpo_gamma", "only with pref_loss: simpo"),
    ({**DPO, "pref_loss": "orpo", "pref_bco_weight": 0.1}, "pref_bco_weight", "orpo has none"),
    ({**DPO, "pref_beta": 0}, "pref_beta", "0"),
    ({**DPO, "pref_ftx": -0.1}, "pref_ftx", "0"),
    ({**DPO, "ld_alpha": 1.5}, "ld_alpha", "1"),
    ({"ref_model": "org/name"}, "ref_model", "only stages dpo, kto, ppo"),
    ({**DPO, "pref_loss": "simpo", "ref_model": "org/name"}, "ref_model", "needs no reference model"),
    ({**DPO, "ref_model_adapters": "a"}, "ref_model_adapters", "needs ref_model"),
    ({**DPO, "ref_model_quantization_bit": 4}, "ref_model_quantization_bit", "needs ref_model"),
    (
        {**DPO, "ref_model": "a", "ref_model_quantization_bit": 3},
        "ref_model_quantization_bit",
        "expected 4, 8 with bnb",
    ),
    ({**DPO, "finetuning_type": "lora", "lora_dropout": 0.1}, "lora_dropout", "trains without dropout"),
]


@pytest.mark.shows("lora_dropout")
@pytest.mark.parametrize(("mapping", "key", "told"), BROKEN, ids=[f"{key}-{told}" for _, key, told in BROKEN])
def test_what_cannot_work_is_refused(mapping: dict[str, Any], key: str, told: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse(mapping)
    (violation,) = refused.value.violations
    assert violation.path == f"spec.training.{key}"
    assert told in violation.message


@pytest.mark.parametrize(
    "mapping",
    [
        {**DPO, "dpo_label_smoothing": 0.1, "pref_ftx": 0.1, "pref_bco_weight": 1.0, "ld_alpha": 0.0},
        {**DPO, "pref_loss": "simpo", "simpo_gamma": 1.0, "pref_beta": 2.0, "pref_ftx": 0.1},
        {**DPO, "ref_model": "org/name", "ref_model_adapters": "a,b", "ref_model_quantization_bit": 8},
        {"stage": "kto", "pref_beta": 0.2, "pref_ftx": 0.1, "ref_model": "org/name"},
        {"stage": "sft", "pref_beta": 0.1, "pref_loss": "sigmoid"},
    ],
    ids=str,
)
def test_what_works_is_not_refused(mapping: dict[str, Any]) -> None:
    parse(mapping)
