"""The mean over a run counts each step once, also those before it was resumed."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

from finetune_trainer.distributed import World
from finetune_trainer.stages.running_loss import RunningLoss

ALONE = World(rank=0, size=1)


def running(step: int, *shares: float) -> RunningLoss:
    found = RunningLoss()
    found.begin(step)
    for share in shares:
        found.add(torch.tensor(share))
    return found


def test_a_log_is_the_mean_since_the_last() -> None:
    found = running(0, 3.0, 1.0)
    assert found.take(2, ALONE) == 2.0
    found.add(torch.tensor(5.0))
    assert found.take(3, ALONE) == 5.0


def test_steps_that_nobody_logged_count_in_the_run() -> None:
    history = [{"step": 2, "loss": 2.0}, {"step": 2, "eval_loss": 9.0}]
    found = running(2, 8.0)
    assert found.over_run(history, 3, ALONE) == pytest.approx(4.0)


def test_a_resumed_run_remembers_what_was_logged_before() -> None:
    found = running(10)
    assert found.over_run([{"step": 8, "loss": 1.0}, {"step": 12, "loss": 4.0}], 10, ALONE) == pytest.approx(2.0)


def test_a_run_without_a_step_has_no_mean() -> None:
    assert RunningLoss().over_run([], 0, ALONE) is None


def two_ranks(rank: int, world_file: str, results: Any) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{world_file}", rank=rank, world_size=2)
    world = World(rank=rank, size=2, group=distributed.group.WORLD)
    results[rank] = running(0, 3.0 + rank).take_beside(1, world, [7e10, 6.5e10][rank])
    distributed.destroy_process_group()


def test_what_each_rank_adds_travels_in_the_same_sum(tmp_path: Path) -> None:
    with multiprocessing.Manager() as manager:
        results = manager.dict()
        torch.multiprocessing.spawn(two_ranks, args=(str(tmp_path / "world"), results), nprocs=2)
        assert dict(results) == {0: (3.5, 7e10), 1: (3.5, 7e10)}
