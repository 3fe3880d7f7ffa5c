"""One holder at a time; a dead one loses the lease, one that stands still learns of it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from finetune_trainer.fetch import lease
from finetune_trainer.fetch.lease import Pulse

PULSE = Pulse(beat=0.02, expires=0.3, poll=0.01)


def never() -> bool:
    return False


def test_the_second_waits_for_the_first(tmp_path: Path) -> None:
    path, order, waits = tmp_path / "a.lock", list[str](), threading.Event()

    def second() -> None:
        with lease.held(path, PULSE, is_done=never, waiting=waits.set):
            order.append("second")

    with lease.held(path, PULSE, is_done=never, waiting=pytest.fail):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(5)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]
    assert list(tmp_path.iterdir()) == []


def test_a_holder_that_beats_keeps_it_longer_than_it_takes_to_expire(tmp_path: Path) -> None:
    path, looks = tmp_path / "a.lock", list[int]()
    with lease.held(path, PULSE, is_done=never, waiting=pytest.fail) as mine:
        enough = int(PULSE.expires / PULSE.poll) * 2
        with lease.held(path, PULSE, is_done=lambda: len(looks) > enough, waiting=lambda: looks.append(1)) as other:
            assert other is None
        assert mine is not None
        assert not mine.lost.is_set()


def test_a_dead_holder_loses_it_whatever_its_clock_said(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    path.write_text("a node whose clock is an hour ahead")
    os.utime(path, (4e9, 4e9))
    with lease.held(path, PULSE, is_done=never, waiting=lambda: None) as mine:
        assert mine is not None
        assert path.read_bytes() == mine.name
    assert list(tmp_path.iterdir()) == []


def test_a_holder_learns_that_it_was_taken_over_and_leaves_the_others_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with lease.held(path, PULSE, is_done=never, waiting=pytest.fail) as mine:
        assert mine is not None
        path.write_text("another")
        assert mine.lost.wait(5)
    assert path.read_text() == "another"


def test_who_breaks_a_lock_that_is_new_gives_it_back(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    path.write_text("new holder")
    late = lease.Lease(path=path, pulse=PULSE)
    lease._break(path, lease._Sight(b"dead holder", 0), late)
    assert path.read_text() == "new holder"
    assert list(tmp_path.iterdir()) == [path]
