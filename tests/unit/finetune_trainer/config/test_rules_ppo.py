"""What the keys of stage ppo must not say together."""

from __future__ import annotations

from typing import Any

import pytest

from finetune_trainer.config import ConfigInvalid, parse

BASE: dict[str, Any] = {
    "model_name_or_path": "a/model",
    "dataset": "words",
    "template": "llama3",
    "output_dir": "out",
    "do_train": True,
}
PPO = {**BASE, "stage": "ppo", "finetuning_type": "lora", "reward_model": "a/reward"}
FULL = {"finetuning_type": "full", "reward_model_type": "full"}
URL = "http://rewards:8000/score"

SOUND: list[dict[str, Any]] = [
    {},
    FULL,
    {**FULL, "reward_model_adapters": "an/adapter", "reward_model_quantization_bit": 4},
    {"reward_model": URL, "reward_model_type": "api"},
    {"ppo_buffer_size": 2, "ppo_epochs": 1, "ppo_target": 0, "ppo_score_norm": True, "ppo_whiten_rewards": True},
    {"temperature": 0.7, "top_p": 0.9, "top_k": 5, "max_new_tokens": 16, "repetition_penalty": 1.1},
    {"do_sample": False, "max_length": 128},
]
BROKEN: list[tuple[dict[str, Any], str, str]] = [
    ({"reward_model": None}, "reward_model", "missing; what scores the answers"),
    ({"reward_model_type": "api"}, "reward_model", "a URL"),
    ({"reward_model": URL}, "reward_model", "goes with reward_model_type: api"),
    ({"finetuning_type": "full"}, "reward_model_type", "write full or api instead"),
    ({"reward_model_adapters": "an/adapter"}, "reward_model_adapters", "only with reward_model_type: full"),
    ({"reward_model_quantization_bit": 4}, "reward_model_quantization_bit", "only with reward_model_type: full"),
    ({"ppo_epochs": 0}, "ppo_epochs", "greater than 0"),
    ({"ppo_buffer_size": 0}, "ppo_buffer_size", "greater than 0"),
    ({"ppo_target": -1.0}, "ppo_target", "greater than or equal to 0"),
    ({"num_beams": 4}, "num_beams", "drawn, not searched"),
    ({"length_penalty": 1.0}, "length_penalty", "no effect in stage: ppo"),
    ({"skip_special_tokens": True}, "skip_special_tokens", "no effect in stage: ppo"),
    ({"do_sample": False, "top_k": 3}, "top_k", "no effect with do_sample: false"),
    ({"max_length": 99, "max_new_tokens": 9}, "max_length", "no effect beside max_new_tokens"),
    ({"do_train": False, "do_predict": True, "predict_with_generate": True}, "do_train", "trains and nothing else"),
    ({"eval_strategy": "steps", "eval_steps": 5, "val_size": 0.1}, "eval_strategy", "does not evaluate"),
    ({"do_eval": True, "val_size": 0.1}, "do_eval", "does not evaluate"),
    ({"load_best_model_at_end": True}, "load_best_model_at_end", "does not evaluate"),
]
ELSEWHERE = {
    "ppo_buffer_size": 2,
    "ppo_epochs": 1,
    "ppo_score_norm": True,
    "ppo_target": 1.0,
    "ppo_whiten_rewards": True,
    "reward_model": "a/reward",
    "reward_model_adapters": "an/adapter",
    "reward_model_quantization_bit": 8,
    "reward_model_type": "full",
}


@pytest.mark.parametrize("said", SOUND, ids=str)
def test_sound(said: dict[str, Any]) -> None:
    assert parse({**PPO, **said}).finetuning.stage == "ppo"


@pytest.mark.parametrize(("said", "key", "words"), BROKEN, ids=str)
def test_refused(said: dict[str, Any], key: str, words: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse({**PPO, **said})
    messages = [violation.message for violation in refused.value.violations if str(violation.path).endswith(key)]
    assert any(words in message for message in messages), refused.value


@pytest.mark.parametrize("key", ELSEWHERE)
def test_keys_of_ppo_are_refused_in_other_stages(key: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse({**BASE, "stage": "sft", key: ELSEWHERE[key]})
    assert [violation.message for violation in refused.value.violations] == [
        "only stage: ppo looks at it, not sft; leave it out"
    ]
