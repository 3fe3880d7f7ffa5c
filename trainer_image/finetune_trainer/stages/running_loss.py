"""The mean loss since the last log, and over the whole run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from finetune_trainer.distributed import World


class RunningLoss:
    """This rank's shares of the loss, kept in full precision on their device until somebody asks.

    Each rank's share was multiplied by the number of ranks, since DDP averages gradients.
    """

    def __init__(self) -> None:
        self._sum = torch.zeros((), dtype=torch.float64)
        self._logged: int | None = None

    def begin(self, step: int) -> None:
        """The run begins, or goes on, after this step; later calls change nothing."""
        if self._logged is None:
            self._logged = step

    def add(self, share: torch.Tensor) -> None:
        """One micro batch's share, float []."""
        self._sum = self._sum.to(share.device) + share.detach()

    def take(self, step: int, world: World) -> float:
        """Mean per step since the last time, over all ranks; every rank must ask."""
        return self.take_beside(step, world, 0.0)[0]

    def take_beside(self, step: int, world: World, own: float) -> tuple[float, float]:
        """The same, and the largest `own` of all ranks, which travels in the same sum: each rank has a place in it."""
        steps = step - (self._logged or 0)
        places = [own if rank == world.rank else 0.0 for rank in range(world.size)]
        total, *owns = world.sum(float(self._sum), *places)
        self._sum.zero_()
        self._logged = step
        return total / world.size / max(1, steps), max(owns)

    def over_run(self, log_history: Sequence[Mapping[str, Any]], step: int, world: World) -> float | None:
        """Mean per step of the whole run, also of what was trained before it was resumed; every rank must ask.

        Steps that a stopped attempt had not logged yet count as the next logged ones.

        Args:
            log_history: the trainer state's.
            step: the last one that was trained.
            world: all ranks.

        Returns:
            None when no step was ever trained.
        """
        means = [(int(entry["step"]), float(entry["loss"])) for entry in log_history if "loss" in entry]
        if step > (self._logged or 0):
            means.append((step, self.take(step, world)))
        total, last = 0.0, 0
        for until, mean in means:
            total, last = total + mean * (until - last), until
        return total / last if last else None
