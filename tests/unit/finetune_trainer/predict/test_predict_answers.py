"""Generating: what the keys become, and that neither batch nor padding changes an answer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.tiny_model import make_tiny_model
from transformers import GenerationConfig, LlamaForCausalLM

from finetune_trainer import predict
from finetune_trainer.config import parse
from finetune_trainer.distributed import World
from finetune_trainer.predict.answers import ended, left_padded

PREDICT = {"do_train": False, "do_predict": True, "predict_with_generate": True, "val_size": 0.5, "dataset": "a"}
STOP, PAD = 9, 1
ROWS = [{"input_ids": list(range(20, 20 + 3 * length)), "labels": [7, length]} for length in (1, 4, 2, 3, 6)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LlamaForCausalLM:
    """With larger weights than a fresh model has, so that answers differ."""
    folder = make_tiny_model(tmp_path_factory.mktemp("predict") / "model")
    return LlamaForCausalLM.from_pretrained(folder).eval()


def settings(base: GenerationConfig | None = None, **keys: Any) -> GenerationConfig:
    return predict.settings(parse({**PREDICT, **keys}), base=base or GenerationConfig(), stop_ids=[STOP], pad_id=PAD)


def answers(
    model: LlamaForCausalLM, batch_size: int = 5, config: GenerationConfig | None = None, **keys: Any
) -> list[tuple[int, ...]]:
    writer = predict.Writer(
        config=config or settings(model.generation_config, **keys),
        limits=predict.limits(parse({**PREDICT, **keys})),
        world=World(),
        batch_size=batch_size,
        seed=3,
    )
    found = writer.answers(model, ROWS)
    assert [list(one.prompt) for one in found] == [row["input_ids"] for row in ROWS]
    assert [list(one.label) for one in found] == [row["labels"] for row in ROWS]
    return [one.predicted for one in found]


@pytest.mark.shows("do_sample", "temperature", "top_p", "top_k")
def test_answers_are_drawn_or_the_likeliest(model: LlamaForCausalLM) -> None:
    greedy = answers(model, do_sample=False, max_new_tokens=6)
    assert answers(model, do_sample=False, max_new_tokens=6) == greedy
    drawn = answers(model, max_new_tokens=6)
    assert answers(model, max_new_tokens=6) == drawn != greedy
    assert answers(model, max_new_tokens=6, temperature=5.0) != drawn
    assert answers(model, max_new_tokens=6, top_p=0.99) != drawn
    assert answers(model, max_new_tokens=6, top_k=2) != drawn
    assert answers(model, max_new_tokens=6, top_k=1) == greedy


def test_a_batch_changes_no_greedy_answer(model: LlamaForCausalLM) -> None:
    alone = answers(model, batch_size=1, do_sample=False, max_new_tokens=8)
    assert answers(model, batch_size=5, do_sample=False, max_new_tokens=8) == alone
    assert len(set(alone)) > 1


@pytest.mark.shows("max_new_tokens", "max_length", "generation_max_length")
def test_an_answer_ends_where_it_is_told(model: LlamaForCausalLM) -> None:
    whole = answers(model, do_sample=False, max_new_tokens=12)
    assert {len(one) for one in answers(model, do_sample=False, max_new_tokens=2)} == {2}
    for keys in ({"max_length": 14}, {"generation_max_length": 14}, {"max_length": 14, "max_new_tokens": 0}):
        cut = answers(model, do_sample=False, **keys)
        assert cut == [one[: max(0, 14 - len(row["input_ids"]))] for one, row in zip(whole, ROWS, strict=True)], keys


def test_drawing_leaves_the_runs_own_chance_alone(model: LlamaForCausalLM) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    answers(model, max_new_tokens=4)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.shows("num_beams", "eval_num_beams", "generation_num_beams", "length_penalty", "repetition_penalty")
def test_beams_and_penalties_change_answers(model: LlamaForCausalLM) -> None:
    keys = {"do_sample": False, "max_new_tokens": 8}
    greedy = answers(model, **keys)
    beams = answers(model, num_beams=4, **keys)
    assert beams != greedy
    assert answers(model, eval_num_beams=4, **keys) == beams
    assert answers(model, generation_num_beams=4, **keys) == beams
    assert answers(model, repetition_penalty=5.0, **keys) != greedy
    lengths = []
    for penalty in (-20.0, 20.0):
        config = settings(model.generation_config, num_beams=4, length_penalty=penalty, **keys)
        config.eos_token_id = list(range(0, model.config.vocab_size, 3))  # beams of unequal length
        lengths.append(sum(map(len, answers(model, config=config, **keys))))
    assert lengths[0] < lengths[1]


def test_the_models_own_settings_stay_where_no_key_speaks() -> None:
    base = GenerationConfig(no_repeat_ngram_size=3, do_sample=True, temperature=0.2, top_k=7)
    made = settings(base, do_sample=False)
    assert (made.no_repeat_ngram_size, made.do_sample, made.eos_token_id) == (3, False, [STOP])
    assert (base.do_sample, base.temperature) == (True, 0.2)


def test_answers_end_with_a_stop() -> None:
    assert ended([4, 5, STOP, PAD, PAD], [STOP]) == (4, 5, STOP)
    assert ended([4, 5], [STOP]) == (4, 5)


def test_prompts_are_padded_on_the_left() -> None:
    batch = left_padded([[5, 6, 7], [8]], PAD)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [PAD, PAD, 8]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
