"""A run of two ranks that goes on with one and then with two again: each step as if nobody had gone.

Ranks stand for nodes here. The unbroken run makes steps 1 to 9; one rank goes on from its third, two from the sixth.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.training.runs import Workspace

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

TOLERANCE = 1e-4
STEPS = {
    "max_steps": 9,
    "save_steps": 3,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "weight_decay": 0.1,  # and none for norms: settings that differ between groups of weights
    "learning_rate": 1.0e-2,
}
LORA = {"finetuning_type": "lora", "lora_rank": 4, "loraplus_lr_ratio": 4.0}
METHODS: dict[str, dict[str, Any]] = {
    "zero3": {"deepspeed": "zero3"},
    "zero2": {"deepspeed": "zero2"},
    "ddp": {},
    "zero1": {"deepspeed": "zero1"},
    "zero2-lora": {"deepspeed": "zero2", **LORA},
    "zero3-lora": {"deepspeed": "zero3", **LORA},
}
IN_CI = ("zero3",)
EVERY_METHOD = [name if name in IN_CI else pytest.param(name, marks=pytest.mark.slow) for name in METHODS]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Model and data; 60 rows are 7.5 steps of 8, so that the second epoch begins on the way."""
    return Workspace.make(tmp_path_factory.mktemp("resize 1+1"), rows=60)


def train(workspace: Workspace, name: str, method: str, *, ranks: int) -> str:
    """Run, and return what people saw."""
    return workspace.run(workspace.config(name, {**STEPS, **METHODS[method]}), ranks=ranks).stdout


@pytest.mark.parametrize("method", EVERY_METHOD)
def test_two_ranks_then_one_then_two(workspace: Workspace, method: str) -> None:
    train(workspace, method, method, ranks=2)
    workspace.leave_checkpoint(f"{method}-1", of=method, step=3)
    seen = train(workspace, f"{method}-1", method, ranks=1)
    assert "checkpoint-3 was written by 2 ranks, 1 rank go on" in seen
    assert "gradient_accumulation_steps 4 in place of 2: the global batch stays 8" in seen
    workspace.leave_checkpoint(f"{method}-2", of=f"{method}-1", step=6)
    seen = train(workspace, f"{method}-2", method, ranks=2)
    assert "checkpoint-6 was written by 1 rank, 2 ranks go on; the global batch stays 8" in seen
    for first, name in ((4, f"{method}-1"), (7, f"{method}-2")):
        assert_same(workspace, name, method, first=first)
    unbroken, broken = (state_of(workspace.output(name)) for name in (method, f"{method}-2"))
    assert broken["epoch"] == unbroken["epoch"]
    assert broken["num_input_tokens_seen"] == unbroken["num_input_tokens_seen"]


def assert_same(workspace: Workspace, name: str, unbroken: str, *, first: int) -> None:
    """Losses and norms of gradients from a step on."""
    for what in (workspace.losses, workspace.gradient_norms):
        wanted, got = what(unbroken), what(name)
        steps = range(first, 10)
        off = {step: abs(got[step] - wanted[step]) / max(1.0, wanted[step]) for step in steps}
        print(f"\n{name} {what.__name__}: largest difference {max(off.values()):.1e}")
        assert max(off.values()) < TOLERANCE, off
    losses = workspace.losses(unbroken)
    assert losses[9] < 0.95 * losses[1], "a run that learns"


def state_of(output: Path) -> dict[str, Any]:
    """trainer_state.json of a finished run."""
    state: dict[str, Any] = json.loads((output / "trainer_state.json").read_text(encoding="utf-8"))
    return state
