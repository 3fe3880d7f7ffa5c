"""Answers to prompts, drawn so that one depends on its prompt, its place and the weights, and on nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from finetune_trainer.collate import Batch
from finetune_trainer.config.generating import GeneratingGroup


class GumbelNoise(LogitsProcessor):
    """Makes the likeliest token a drawn one: logits plus Gumbel noise are largest at a token as often as it is likely.

    So transformers' greedy search samples, each row from a generator of its own, which its own sampling can't do.

    Source: Gumbel 1954; Maddison et al. 2014, arXiv 1411.0030.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - transformers'
        """Float [rows, vocabulary], as many rows as seeds; each call draws anew."""
        noise = torch.empty_like(scores, dtype=torch.float32)
        for row, generator in zip(noise, self._generators, strict=True):
            row.exponential_(generator=generator)
        return scores - noise.log()


class Sampler:
    """Draws answers as the generation keys say. Which token comes behind an answer's first stop token is nobody's."""

    def __init__(self, keys: GeneratingGroup, *, stops: Sequence[int], pad: int, seed: int) -> None:
        self._keys = keys
        self._stops = frozenset(stops)
        self._pad = pad
        self._seed = seed

    def __call__(self, model: Any, prompts: Batch, *, step: int, places: Sequence[int]) -> list[list[int]]:  # noqa: ANN401 - `generate` is mixed in
        """Answer prompts.

        Args:
            model: unwrapped, in evaluation mode; split over ranks, all call alike.
            prompts: `input_ids` and `attention_mask`, padded on the left.
            step: of the run.
            places: of the prompts among those of the step, over all ranks.

        Returns:
            The ids of each answer, at least one; the last one is a stop token unless the answer was cut.
        """
        ids, mask = prompts["input_ids"], prompts["attention_mask"]
        room = [self._room(length) for length in mask.sum(dim=1).tolist()]
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False,
            num_beams=1,
            max_new_tokens=max(room),
            repetition_penalty=self._keys.repetition_penalty,
            remove_invalid_values=True,
            eos_token_id=sorted(self._stops),
            pad_token_id=self._pad,
            use_cache=True,
        )
        drawing = self._drawing([self._seed_of(step, place) for place in places], ids.device)
        output = model.generate(
            input_ids=ids, attention_mask=mask, generation_config=config, logits_processor=LogitsProcessorList(drawing)
        )
        answers = output[:, ids.shape[1] :].tolist()
        return [self._until_stop(answer[:most]) for answer, most in zip(answers, room, strict=True)]

    def _room(self, prompt: int) -> int:
        """Most tokens of an answer. As in LLaMA-Factory, max_length counts only where max_new_tokens is none."""
        keys = self._keys
        only_length = "max_length" in keys.model_fields_set and "max_new_tokens" not in keys.model_fields_set
        if keys.max_new_tokens > 0 and not only_length:
            return keys.max_new_tokens
        return max(1, keys.max_length - prompt)

    def _drawing(self, seeds: Sequence[int], device: torch.device) -> list[LogitsProcessor]:
        if not self._keys.do_sample:
            return []
        steps: list[LogitsProcessor] = [TemperatureLogitsWarper(self._keys.temperature)]
        if self._keys.top_k:
            steps.append(TopKLogitsWarper(self._keys.top_k))
        if self._keys.top_p < 1:
            steps.append(TopPLogitsWarper(self._keys.top_p))
        return [*steps, GumbelNoise(seeds, device)]

    def _seed_of(self, step: int, place: int) -> int:
        """63 bits: neighbours must not look alike, as small seeds of a Mersenne twister do."""
        digest = hashlib.blake2b(f"{self._seed} {step} {place}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") >> 1

    def _until_stop(self, answer: list[int]) -> list[int]:
        ends = (at for at, token in enumerate(answer) if token in self._stops)
        return answer[: next(ends, len(answer) - 1) + 1]
