"""Checkpoints that are written while training goes on: killed in the middle, and on a disk that is full."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.training.runs import Workspace

from finetune_trainer import checkpoints

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

SHORT = {"num_train_epochs": 1.0, "save_steps": 2, "save_total_limit": 1}
STEPS = 6
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.make(tmp_path_factory.mktemp("saving"), rows=8 * STEPS)


@pytest.fixture(scope="module")
def small_disk(workspace: Workspace) -> Iterator[Path]:
    """A file system of its own where the run `full` writes."""
    folder = workspace.output("full")
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("a small file system needs mount, which is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def resize(disk: Path, size: int) -> None:
    """Let it hold that many bytes."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def complete(folder: Path) -> dict[int, bool]:
    """Step -> whether the checkpoint is complete."""
    return {one.step: one.mark is not None for one in checkpoints.found(folder)}


def test_killed_or_full_in_the_middle_of_a_save_the_next_run_is_the_unbroken_one(
    workspace: Workspace, small_disk: Path
) -> None:
    killed = workspace.config("killed", SHORT)
    halves = workspace.config("full", {**SHORT, "per_device_train_batch_size": 4})
    died = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "killed_rank.py"), "4", str(killed)],
        env=workspace.environment(),
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert died.returncode == -signal.SIGKILL
    assert complete(workspace.output("killed")) == {2: True, 4: False}
    assert (workspace.output("killed") / "checkpoint-4" / "optimizer.pt").exists()

    first = workspace.output("killed") / "checkpoint-2"
    resize(small_disk, int(1.6 * sum(path.stat().st_size for path in first.rglob("*"))))
    stopped = workspace.run(halves, ranks=2, check=False)
    assert "DiskFull (rank 0 of 2): there is no room for checkpoint-4" in stopped.stderr, stopped.stderr[-2000:]
    assert "DiskFull (rank 1 of 2): there is no room for checkpoint-4" in stopped.stderr
    assert "save_total_limit" in stopped.stderr
    assert complete(small_disk) == {2: True, 4: False}

    resize(small_disk, 100_000_000)
    workspace.run(killed, workspace.config("full", SHORT), workspace.config("unbroken", SHORT))
    expected = workspace.losses("unbroken")
    assert sorted(expected) == list(range(1, STEPS + 1))
    for name in ("killed", "full"):
        losses = workspace.losses(name)
        assert losses == pytest.approx(expected, abs=TOLERANCE), name
        assert complete(workspace.output(name)) == {STEPS: True}
