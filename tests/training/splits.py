"""One training, its global batch of eight rows split in every way: the same loss and gradient norm at each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.training.runs import Workspace

TOLERANCE = 1e-4
TWO_RANKS = {"per_device_train_batch_size": 4}
SPLITS: dict[str, tuple[int, dict[str, Any]]] = {
    "1x8": (1, {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}),
    "ddp": (2, TWO_RANKS),
    "zero2": (2, {**TWO_RANKS, "deepspeed": "zero2"}),
    "zero3": (2, {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "deepspeed": "zero3"}),
    "resumed": (1, {}),
}
"""Name -> ranks, and what is said differently from 8x1 on one rank."""
EVERY_SPLIT = [pytest.param(name, marks=pytest.mark.slow) if name == "zero2" else name for name in SPLITS]
"""For parametrize. ZeRO-2 is in the slow tests but for sft: it shares less than ZeRO-3."""


def train_whole(workspace: Workspace, method: str, changes: Mapping[str, Any]) -> None:
    """The run that the others are compared with: eight rows at once; checkpoints every ten steps."""
    workspace.run(workspace.config(f"{method}-8x1", changes))


def train_split(workspace: Workspace, method: str, split: str, changes: Mapping[str, Any]) -> None:
    """The same training, split; `resumed` goes on from the whole run's checkpoint at step 10."""
    ranks, differently = SPLITS[split]
    name = f"{method}-{split}"
    if split == "resumed":
        workspace.leave_checkpoint(name, of=f"{method}-8x1", step=10)
    workspace.run(workspace.config(name, {**changes, **differently}), ranks=ranks)


def assert_same(workspace: Workspace, method: str, split: str, *, steps: int = 20) -> None:
    """Each step's loss and gradient norm agree to 1e-4, relative where they are above one, and do not drift apart."""
    first = 11 if split == "resumed" else 1
    for what in (workspace.losses, workspace.gradient_norms):
        whole, part = what(f"{method}-8x1"), what(f"{method}-{split}")
        assert len(whole) >= steps
        wanted = [step for step in sorted(whole) if step >= first]
        assert [step for step in sorted(part) if step >= first] == wanted
        off = {step: (part[step] - whole[step]) / max(1.0, abs(whole[step])) for step in wanted}
        print(f"\n{method} {split} {what.__name__}: largest difference {max(map(abs, off.values())):.2e}")
        assert max(map(abs, off.values())) < TOLERANCE, off
        assert abs(sum(off.values()) / len(off)) < TOLERANCE / 2, "a drift to one side"


def assert_falls(workspace: Workspace, method: str, *, to: float = 0.9) -> None:
    """The mean loss of the last five steps lies under `to` times that of the first five."""
    losses = [loss for _, loss in sorted(workspace.losses(f"{method}-8x1").items())]
    assert sum(losses[-5:]) < to * sum(losses[:5]), losses
