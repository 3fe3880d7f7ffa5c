"""Several optimisers that are one to the trainer, its schedule and its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch


class Joined(torch.optim.Optimizer):
    """Steps each of its parts. Groups and state are this object's and the parts look at the same ones.

    So a schedule sets every part's learning rate, and a checkpoint holds every part's state under one numbering.
    """

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        groups = [group for part in parts for group in part.param_groups]
        states = [dict(part.state) for part in parts]
        super().__init__(groups, {"lr": groups[0]["lr"]})
        self.parts = tuple(parts)
        for state in states:  # APOLLO notes seeds before the first step
            self.state.update(state)
        self._share()

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Step every part."""
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take a checkpoint's state, which replaces groups and state, and show it to the parts."""
        super().load_state_dict(dict(state_dict))
        self._share()

    def _share(self) -> None:
        groups = iter(self.param_groups)
        for part in self.parts:
            part.state = self.state
            part.param_groups = [next(groups) for _ in part.param_groups]


class Layerwise(Joined):
    """One optimiser for each parameter, which steps as soon as the gradient is there and then drops it.

    So no two gradients are in memory at once; there is no accumulation, no common norm to clip to, and one process
    alone: other ranks' gradients would come too late. Source: LLaMA-Factory, train/trainer_utils.py, and GaLore's
    per-layer updates (https://arxiv.org/abs/2403.03507, 4.4). Unlike LLaMA-Factory's, the learning rate follows the
    schedule in current transformers too, and the state is in the checkpoint.
    """

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        super().__init__(parts)
        for part in self.parts:
            for group in part.param_groups:
                for parameter in group["params"]:
                    parameter.register_post_accumulate_grad_hook(_stepping(part))

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Nothing: the backward pass has stepped."""
        return None if closure is None else closure()


def _stepping(part: torch.optim.Optimizer) -> Callable[[torch.Tensor], None]:
    def step(_: torch.Tensor) -> None:
        part.step()
        part.zero_grad()

    return step
