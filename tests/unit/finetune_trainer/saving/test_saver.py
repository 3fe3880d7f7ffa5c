"""The saver: a checkpoint between its copy and its commit."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from finetune_trainer import atomic, checkpoints, records, saving
from finetune_trainer.checkpoints import Keeper
from finetune_trainer.context import Place, RunContext
from finetune_trainer.distributed import World
from finetune_trainer.failures import DiskFull, Fenced, SaveFailed
from finetune_trainer.saving import Saver, files


class Run:
    """One rank, alone, whose writing waits until it may."""

    def __init__(self, folder: Path, attempt: int = 1, *, free: int | None = None, limit: int | None = None) -> None:
        context = RunContext(output_dir=folder, uid="mine", attempt=attempt, place=Place())
        self.folder = folder
        self.keeper = Keeper(context=context, world=World(), limit=limit)
        self.kept: list[int] = []
        self.saver = Saver(self.keeper, free=lambda: free, kept=self.kept.append)
        self.may_write = threading.Event()
        self.weight = torch.ones(250_000)
        self.keeper.claim()

    def save(self, step: int, *, at_once: bool = False) -> None:
        """Take a checkpoint of one file."""
        with self.saver.taking(step, best=lambda: None, at_once=at_once):
            self.saver.hand({"weight": self.weight}, functools.partial(self.write, step), name="weights")

    def write(self, step: int, value: object) -> None:
        """The file of one megabyte, when it may be."""
        self.may_write.wait()
        saving.write(value, self.keeper.folder(step) / "weights.pt")

    def end_step(self) -> None:
        """What Stopping does at a step's end."""
        self.saver.hear(*self.saver.words())

    def complete(self) -> list[int]:
        """Steps of complete checkpoints."""
        return [one.step for one in checkpoints.found(self.folder) if one.mark]


def test_training_goes_on_while_a_checkpoint_is_written_as_it_was(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.save(3)
    run.weight.zero_()
    run.end_step()
    assert (run.complete(), run.kept) == ([], [])
    run.may_write.set()
    while run.saver.words()[0]:
        pass
    run.end_step()
    assert (run.complete(), run.kept) == ([3], [3])
    assert torch.load(tmp_path / "checkpoint-3" / "weights.pt")["weight"].min() == 1
    assert not (tmp_path / "checkpoint-3" / records.CHECKPOINT_OPENED).exists()


def test_the_next_one_waits_for_it_and_so_does_the_end(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.may_write.set()
    run.save(3)
    run.save(6)
    assert run.complete() == [3]
    run.saver.finish()
    run.saver.finish()
    assert (run.complete(), run.kept) == ([3, 6], [3, 6])


def test_where_memory_is_short_nothing_is_copied_and_all_is_written_first(tmp_path: Path) -> None:
    run = Run(tmp_path, free=1_100_000)
    run.may_write.set()
    run.save(3)
    run.weight.zero_()
    run.saver.finish()
    assert torch.load(tmp_path / "checkpoint-3" / "weights.pt")["weight"].min() == 1


def test_what_the_limit_lets_go_is_out_of_the_way_at_the_commit_and_deleted_behind_it(tmp_path: Path) -> None:
    run = Run(tmp_path, limit=1)
    run.may_write.set()
    for step in (3, 6):
        run.save(step)
        while run.saver.words()[0]:
            pass
        run.end_step()
        assert run.complete() == [step]
    run.saver.finish()
    assert not (tmp_path / ".finetune" / "removed").exists()


def test_what_cannot_be_deleted_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("Operation not permitted: 'checkpoint-3'")

    run = Run(tmp_path, limit=1)
    run.may_write.set()
    run.save(3)
    run.save(6)
    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(SaveFailed, match=r"lets go could not be deleted: Operation not permitted: 'checkpoint-3'"):
        run.saver.finish()


def test_at_once_means_complete_when_it_returns(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.may_write.set()
    run.save(3, at_once=True)
    assert run.complete() == [3]


def test_a_full_disk_is_told_in_words_and_the_next_attempt_has_the_room_again(small_disk: Path) -> None:
    run = Run(small_disk)
    run.may_write.set()
    run.save(3)
    run.saver.finish()
    run.save(6)
    with pytest.raises(DiskFull, match=r"no room for checkpoint-6: it takes 0.00 GB.*No space left on device"):
        run.saver.finish()
    assert run.complete() == [3]
    Run(small_disk, attempt=2)
    assert [one.step for one in checkpoints.found(small_disk)] == [3]


def test_a_disk_that_is_full_for_the_smallest_file(small_disk: Path) -> None:
    run = Run(small_disk)
    (small_disk / "filler").write_bytes(b"0" * os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize)
    with pytest.raises(DiskFull, match="no room for checkpoint-3"):
        run.save(3)


def test_every_library_tells_of_a_full_disk_in_its_own_way(small_disk: Path) -> None:
    state = {"weight": torch.ones(1_000_000)}
    run = Run(small_disk)
    for step, write in enumerate(
        [
            lambda value: save_file(value, small_disk / "a"),
            lambda value: saving.write(value, small_disk / "b", zipped=False),
            lambda value: saving.write(value, small_disk / "c"),
        ]
    ):
        with run.saver.taking(step, best=lambda: None):
            run.saver.hand(state, write, name="weights")
        with pytest.raises(DiskFull):
            run.saver.finish()
        for path in small_disk.glob("?"):
            path.unlink()


def test_another_fault_of_the_thread_ends_the_run_at_a_steps_end(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with run.saver.taking(3, best=lambda: None):
        run.saver.hand({}, lambda _: (tmp_path / "gone" / "file").touch(), name="weights")
    while run.saver.words()[0]:
        pass
    with pytest.raises(SaveFailed, match=r"checkpoint-3 could not be written: .*No such file or directory"):
        run.end_step()
    assert run.complete() == []


def test_a_rank_of_a_lost_node_writes_no_further_file(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with run.saver.taking(3, best=lambda: None):
        run.saver.hand({}, lambda _: run.may_write.wait(), name="first")
        run.saver.hand({}, functools.partial(run.write, 3), name="weights")
    Run(tmp_path, attempt=2).keeper.open(3)
    run.may_write.set()
    with pytest.raises(Fenced):
        run.saver.finish()
    assert [path.name for path in (tmp_path / "checkpoint-3").iterdir()] == [records.CHECKPOINT_OPENED]


def test_everything_of_a_checkpoint_is_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []

    def told(handle: int, sync: object = os.fsync) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        sync(handle)  # type: ignore[operator]

    monkeypatch.setattr(os, "fsync", told)
    folder = tmp_path / "checkpoint-3"
    (folder / "global_step3").mkdir(parents=True)
    for name in ("model.safetensors", "global_step3/part"):
        (folder / name).write_text("x")
    files.settle(folder)
    names = ["model.safetensors", "global_step3/part", "global_step3", "."]
    assert set(synced) == {str(tmp_path), *(str((folder / name).resolve()) for name in names)}
    assert synced[-1] == str(tmp_path)
    synced.clear()
    atomic.write(folder / "mark", "text")
    assert len(synced) == 2
    assert synced[1] == str(folder), "the rename is durable too"


def test_a_process_that_ends_writes_no_further(tmp_path: Path) -> None:
    program = (
        "import sys, threading, time\n"
        "from pathlib import Path\n"
        "from finetune_trainer.saving import files, work\n"
        "def job():\n"
        "    time.sleep(1)\n"
        "    files.check_alive()\n"
        "    Path(sys.argv[1]).touch()\n"
        "work.Work([job])\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "written")], check=True)
    assert not (tmp_path / "written").exists()
