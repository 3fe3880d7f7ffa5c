"""Objective: what a method minimises, as a mean over items of the global batch, and what it counts beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn

from finetune_trainer.collate import Batch
from finetune_trainer.distributed import World


class Meter:
    """Sums and counts of what a method tells beside its loss, kept on the device until somebody asks."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def add(self, name: str, values: torch.Tensor, weights: torch.Tensor | None = None) -> None:
        """Count values of any shape, each once or by its weight; gradients are not kept."""
        values = values.detach().double()
        weights = torch.ones_like(values) if weights is None else weights.detach().double()
        total, count = (values * weights).sum(), weights.sum()
        before = self._sums.get(name)
        self._sums[name] = (total, count) if before is None else (before[0] + total, before[1] + count)

    def take(self, world: World) -> dict[str, float]:
        """The mean of each over all ranks since the last time, which are forgotten then; every rank must ask."""
        mine = {name: (float(total), float(count)) for name, (total, count) in self._sums.items()}
        self._sums = {}
        means: dict[str, float] = {}
        ranks = world.gather(mine)
        for name in dict.fromkeys(name for rank in ranks for name in rank):
            total = sum(rank[name][0] for rank in ranks if name in rank)
            count = sum(rank[name][1] for rank in ranks if name in rank)
            if count:
                means[name] = total / count
        return means


class Objective(Protocol):
    """One method's loss. All micro batches of all ranks together make the same step as one large batch would."""

    meter: Meter
    """The trainer puts another one here while it evaluates."""
    looks_ahead: bool
    """Whether `prepare` has something to do."""

    def items(self, batch: Batch) -> int:
        """Over how many items of this micro batch the loss is a mean: learned tokens, pairs, rows; blanks are none."""
        ...

    def prepare(self, model: nn.Module, batches: Sequence[Batch], world: World) -> None:
        """Before the step: what the loss needs to know of the whole global batch. Most methods need nothing.

        Args:
            model: as it is called in `loss`, wrapped for this run; without gradients.
            batches: this rank's micro batches of the step, on the device, in the order of the calls of `loss`.
            world: all ranks call at the same point.
        """
        ...

    def loss(self, model: nn.Module, batch: Batch, items: torch.Tensor) -> torch.Tensor:
        """This micro batch's share of the loss: the sum over its items, divided by `items` of the global batch.

        Args:
            model: wrapped for this run.
            batch: on the device.
            items: float [], what all micro batches of all ranks said in `items`, at least 1.

        Returns:
            float [], with a gradient; a batch of blanks gives a zero that has one.
        """
        ...
