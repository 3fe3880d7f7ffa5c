"""Drawing answers: as the generation keys say, and the same whatever else is in the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from finetune_trainer.collate.prompts import PromptCollator
from finetune_trainer.config.generating import GeneratingGroup
from finetune_trainer.stages.ppo.sampling import GumbelNoise, Sampler

PAD, STOPS = 0, (1, 2)
PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18], [19], [20, 21, 22, 23, 24]]
WIDE = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": 12}


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


def draw(model: LlamaForCausalLM, *, places: list[int], step: int = 0, seed: int = 1, **keys: Any) -> list[list[int]]:
    batch = PromptCollator(pad_token_id=PAD)([{"input_ids": PROMPTS[place]} for place in places])
    sampler = Sampler(GeneratingGroup(**{**WIDE, **keys}), stops=STOPS, pad=PAD, seed=seed)
    return sampler(model, batch, step=step, places=places)


def test_an_answer_does_not_depend_on_the_batch(model: LlamaForCausalLM) -> None:
    together = draw(model, places=[0, 1, 2, 3])
    assert together == [draw(model, places=[place])[0] for place in range(4)]
    assert draw(model, places=[3, 1]) == [together[3], together[1]]


def test_an_answer_depends_on_step_place_and_seed(model: LlamaForCausalLM) -> None:
    same = draw(model, places=[1])
    assert draw(model, places=[1], step=1) != same
    assert draw(model, places=[1], seed=2) != same


def test_an_answer_ends_with_its_first_stop_token(model: LlamaForCausalLM) -> None:
    answers = [answer for step in range(20) for answer in draw(model, places=[0, 1, 2, 3], step=step)]
    stopped = [answer for answer in answers if len(answer) < 12]
    assert 5 < len(stopped) < len(answers)
    assert all(answer[-1] in STOPS and not set(answer[:-1]) & set(STOPS) for answer in stopped)


@pytest.mark.shows("do_sample", "temperature", "top_k", "top_p")
@pytest.mark.parametrize("keys", [{"do_sample": False}, {"temperature": 1e-4}, {"top_k": 1}, {"top_p": 1e-6}], ids=str)
def test_what_leaves_the_likeliest_token_alone(model: LlamaForCausalLM, keys: dict[str, Any]) -> None:
    greedy = model.generate(
        torch.tensor([PROMPTS[1]]),
        attention_mask=torch.ones(1, len(PROMPTS[1]), dtype=torch.long),
        do_sample=False,
        max_new_tokens=12,
        eos_token_id=list(STOPS),
        pad_token_id=PAD,
    )[0, len(PROMPTS[1]) :].tolist()
    assert draw(model, places=[1], **keys) == [greedy]
    assert draw(model, places=[1]) != [greedy]


@pytest.mark.shows("max_new_tokens", "max_length")
def test_how_long_answers_grow(model: LlamaForCausalLM) -> None:
    assert max(map(len, draw(model, places=[0, 1, 2, 3], max_new_tokens=5))) == 5
    only_length = Sampler(GeneratingGroup(max_length=13, top_k=0), stops=(), pad=PAD, seed=1)
    batch = PromptCollator(pad_token_id=PAD)([{"input_ids": prompt} for prompt in PROMPTS])
    answers = only_length(model, batch, step=0, places=range(4))
    assert [len(answer) + len(prompt) for answer, prompt in zip(answers, PROMPTS, strict=True)] == [13] * 4


@pytest.mark.shows("repetition_penalty")
def test_repetitions_are_held_back(model: LlamaForCausalLM) -> None:
    def repeated(penalty: float) -> int:
        answers = [draw(model, places=[1], step=step, repetition_penalty=penalty)[0] for step in range(10)]
        return sum(len(answer) - len(set(answer) - set(PROMPTS[1])) for answer in answers)

    assert repeated(5.0) < 0.5 * repeated(1.0)


def test_noise_draws_tokens_as_often_as_they_are_likely() -> None:
    chances = torch.tensor([0.5, 0.3, 0.15, 0.05, 0.0])
    rows = 4000
    noise = GumbelNoise(range(rows), torch.device("cpu"))
    drawn = noise(torch.empty(0), chances.log().expand(rows, 5)).argmax(dim=1)
    found = drawn.bincount(minlength=5) / rows
    assert found[4] == 0
    torch.testing.assert_close(found, chances, atol=0.03, rtol=0)
