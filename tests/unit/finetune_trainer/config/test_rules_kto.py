"""Rules about the keys of stages kto and rm."""

from __future__ import annotations

from typing import Any

import pytest

from finetune_trainer.config import ConfigInvalid, parse

BROKEN: list[tuple[dict[str, Any], str, str]] = [
    ({"stage": "dpo", "kto_chosen_weight": 2.0}, "kto_chosen_weight", "only stage: kto looks at it, not dpo"),
    ({"kto_rejected_weight": 0.5}, "kto_rejected_weight", "only stage: kto looks at it, not sft"),
    ({"stage": "kto", "kto_chosen_weight": -1}, "kto_chosen_weight", "greater than or equal to 0"),
    ({"stage": "rm", "do_predict": True, "val_size": 10}, "do_predict", "do_eval: true tells eval_accuracy"),
    ({"stage": "rm", "pref_beta": 0.2}, "pref_beta", "not rm"),
]
KEPT: list[dict[str, Any]] = [
    {"stage": "kto", "kto_chosen_weight": 2.0, "kto_rejected_weight": 0, "pref_ftx": 0.1, "pref_beta": 0.3},
    {"stage": "rm", "finetuning_type": "full", "val_size": 10, "eval_strategy": "steps", "eval_steps": 5,
     "save_steps": 5, "load_best_model_at_end": True},
    {"stage": "rm", "resume_from_checkpoint": "saves/a/checkpoint-5"},
]  # fmt: skip


@pytest.mark.shows("kto_chosen_weight", "kto_rejected_weight", "do_predict")
@pytest.mark.parametrize(("mapping", "key", "words"), BROKEN, ids=[key for _, key, _ in BROKEN])
def test_refused_with_what_works(mapping: dict[str, Any], key: str, words: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse(mapping)
    assert any(key in line and words in line for line in str(refused.value).splitlines()), str(refused.value)


@pytest.mark.parametrize("mapping", KEPT, ids=str)
def test_kept(mapping: dict[str, Any]) -> None:
    """Also what LLaMA-Factory's own limits refuse: resuming a full reward model, taking back its best checkpoint."""
    parse(mapping)
