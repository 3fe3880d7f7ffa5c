"""Answers to prompts: each row once, shared by the ranks, in the rows' order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig

from finetune_trainer.distributed import World
from finetune_trainer.predict.settings import Limits


@dataclass(frozen=True, slots=True)
class Answer:
    """A row, as token ids, and what the model made of it."""

    prompt: tuple[int, ...]
    predicted: tuple[int, ...]
    """With the token that ended it."""
    label: tuple[int, ...]
    """The data's answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Writer:
    """Generates in batches of `batch_size` rows, which go round the ranks.

    A batch draws by chance from a seed of its own: the same answers on any number of ranks, and training after it
    goes on as without it.
    """

    config: GenerationConfig
    limits: Limits
    world: World
    batch_size: int
    seed: int

    def answers(self, model: Any, rows: Any) -> list[Answer]:  # noqa: ANN401 - a model that generates, a data set
        """Every row's answer; every rank gets all of them, and must ask.

        Args:
            model: not wrapped, on its device, in evaluation mode.
            rows: of `input_ids`, the prompt, and `labels`, the answer.
        """
        firsts = range(0, len(rows), self.batch_size)
        mine: dict[int, list[Answer]] = {}
        for first in firsts[self.world.rank :: self.world.size]:
            batch = [rows[number] for number in range(first, min(first + self.batch_size, len(rows)))]
            with _drawing(self.seed + first, model.device):
                mine[first] = self._batch(model, batch)
        shares = self.world.gather(mine)
        found = {first: batch for share in shares for first, batch in share.items()}
        return list(itertools.chain.from_iterable(found[first] for first in firsts))

    def _batch(self, model: Any, rows: Sequence[Mapping[str, Sequence[int]]]) -> list[Answer]:  # noqa: ANN401
        rooms = [self.limits.room(len(row["input_ids"])) for row in rows]
        made: list[list[int]] = [[] for _ in rows]
        if max(rooms) > 0:
            inputs = left_padded([row["input_ids"] for row in rows], self.config.pad_token_id)
            width = inputs["input_ids"].shape[1]
            output = model.generate(
                **{name: tensor.to(model.device) for name, tensor in inputs.items()},
                generation_config=self.config,
                max_new_tokens=max(rooms),
            )
            made = output[:, width:].tolist()
        return [
            Answer(tuple(row["input_ids"]), ended(ids[:room], self.config.eos_token_id), tuple(row["labels"]))
            for row, ids, room in zip(rows, made, rooms, strict=True)
        ]


def left_padded(prompts: Sequence[Sequence[int]], pad: int) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask`, int64 [prompts, longest]: an answer goes on at the right."""
    width = max(len(prompt) for prompt in prompts)
    ids = [[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


def ended(ids: Sequence[int], stops: Sequence[int]) -> tuple[int, ...]:
    """Up to the first token that ends an answer, with it."""
    end = next((place for place, token in enumerate(ids) if token in stops), len(ids))
    return tuple(ids[: end + 1])


@contextmanager
def _drawing(seed: int, device: torch.device) -> Iterator[None]:
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.inference_mode():
        torch.manual_seed(seed)
        yield
