"""The supervisor's pure parts: when to stop, who hangs, what was the cause, what the log's end is."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from finetune_trainer.records import Heartbeat, Phase, RankError
from finetune_trainer.supervise import memory, outcome
from finetune_trainer.supervise.logtail import LogTail
from finetune_trainer.supervise.outcome import Ended, Identity
from finetune_trainer.supervise.stopping import Stopping
from finetune_trainer.supervise.watch import Watch

WHO = Identity(attempt=1, node_rank=0, spec_hash="abc", host="node")
ENDED = Ended(
    launcher="torchrun",
    exit_code=1,
    result=None,
    errors=(),
    stall=None,
    stacks=(),
    stop_asked=False,
    out_of_memory=False,
    step=3,
    progress=None,
    log_tail="",
)
SUMMARY = """
finetune_trainer.cli FAILED
Failures:
[1]:
  time      : 2026-01-01_00:00:01
  host      : node
  rank      : 1 (local_rank: 1)
  exitcode  : -15 (pid: 11) (SIGTERM)
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-01-01_00:00:00
  host      : node
  rank      : 5 (local_rank: 0)
  exitcode  : {code} (pid: 10)
"""
PEER_LOST = RankError(rank=0, reason="PeerLost", message="connection closed by peer", retryable=True)


@pytest.mark.parametrize(
    ("seconds", "step"),
    [(0, "wait"), (569, "wait"), (570, "terminate"), (589, "terminate"), (590, "kill"), (1000, "kill")],
)
def test_launcher_is_left_alone_until_the_grace_time_is_nearly_over(seconds: float, step: str) -> None:
    assert Stopping(asked=100, grace=600).step(100 + seconds) == step


@pytest.mark.parametrize("grace", [1, 10, 30, 600])
def test_there_is_time_to_write_the_outcome(grace: float) -> None:
    stopping = Stopping(asked=0, grace=grace)
    assert stopping.step(grace * 0.75) == "wait"
    assert stopping.step(grace * 0.96) in {"terminate", "kill"}
    assert stopping.step(grace - min(30, grace / 5) / 4) == "kill"


def test_out_of_memory_wins_over_lost_peers() -> None:
    told = outcome.judge(dataclasses.replace(ENDED, out_of_memory=True, errors=(PEER_LOST,)), WHO)
    assert (told.reason, told.retryable) == ("OutOfMemory", False)
    assert "raise spec.resources.memory" in told.message


def test_a_ranks_own_word_wins_over_the_result() -> None:
    own = RankError(rank=2, reason="LossNotFinite", message="nan", retryable=False)
    told = outcome.judge(dataclasses.replace(ENDED, errors=(PEER_LOST, own)), WHO)
    assert (told.result, told.reason, told.rank) == ("failed", "LossNotFinite", 2)


def test_a_rank_that_was_killed_wins_over_those_that_lost_it() -> None:
    told = outcome.judge(dataclasses.replace(ENDED, errors=(PEER_LOST,), log_tail=SUMMARY.format(code=-9)), WHO)
    assert (told.reason, told.rank) == ("Crashed", 5)
    assert "rank 5 was ended by SIGKILL" in told.message


def test_what_the_ranks_said_is_kept_and_not_torchruns_traceback() -> None:
    said = "\n".join(f"line {number}" for number in range(60))
    noise = "\nW1121 02:15:27.115000 16115 torch/distributed/elastic/multiprocessing/api.py:1028] Sending\nTraceback\n"
    told = outcome.judge(dataclasses.replace(ENDED, log_tail=said + noise + SUMMARY.format(code=-11)), WHO)
    assert "SIGSEGV" in told.message
    assert told.log_tail.splitlines() == [f"line {number}" for number in range(20, 60)]


def test_a_ranks_traceback_is_what_its_log_would_say() -> None:
    own = RankError(rank=2, reason="Crashed", message="boom", retryable=True, traceback="Traceback: boom")
    told = outcome.judge(dataclasses.replace(ENDED, errors=(own,), log_tail="other ranks' words"), WHO)
    assert told.log_tail == "Traceback: boom"


def test_a_rank_that_gave_up_for_a_lost_peer_is_no_crash() -> None:
    told = outcome.judge(dataclasses.replace(ENDED, errors=(PEER_LOST,), log_tail=SUMMARY.format(code=1)), WHO)
    assert (told.reason, told.rank) == ("PeerLost", 0)


def test_deepspeeds_exit_code_holds_the_signal() -> None:
    told = outcome.judge(dataclasses.replace(ENDED, launcher="deepspeed", exit_code=256 - 11), WHO)
    assert "SIGSEGV" in told.message


def test_lost_peers_after_a_wish_to_stop_are_a_stop() -> None:
    told = outcome.judge(dataclasses.replace(ENDED, stop_asked=True, errors=(PEER_LOST,)), WHO)
    assert (told.result, told.retryable) == ("stopped", True)


@pytest.mark.parametrize(
    ("text", "kills"),
    [("low 0\noom 3\noom_kill 2\n", 2), ("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n", 4), ("", 0)],
)
def test_the_kernels_count_is_read(tmp_path: Path, text: str, kills: int) -> None:
    (tmp_path / "events").write_text(text)
    assert memory.kills((tmp_path / "absent", tmp_path / "events")) == kills


def beat(folder: Path, local_rank: int, step: int, phase: Phase = "training") -> None:
    record = Heartbeat(time=time.time(), phase=phase, step=step)
    (folder / f"heartbeat-{local_rank}.json").write_text(record.to_json())


def test_the_rank_that_is_furthest_behind_is_named(tmp_path: Path) -> None:
    watch = Watch(tmp_path, processes=3, first_rank=16, timeout=10)
    for steps in ((6, 5, 6), (7, 6, 7)):
        for local_rank, step in enumerate(steps):
            beat(tmp_path, local_rank, step)
        assert watch.look(now=0) is None
    assert watch.look(now=10) is None
    stall = watch.look(now=11)
    assert stall is not None
    assert (stall.rank, stall.step, stall.seconds) == (17, 6, 11)
    assert watch.step == 7


@pytest.mark.parametrize(
    ("phase", "timeouts"),
    [("training", 1), ("evaluating", 2), ("saving", 4), ("model", None), ("data", None)],
)
def test_phases_are_waited_for_as_long_as_they_may_take(tmp_path: Path, phase: Phase, timeouts: int | None) -> None:
    watch = Watch(tmp_path, processes=1, first_rank=0, timeout=10)
    beat(tmp_path, 0, 0)
    watch.look(now=0)
    beat(tmp_path, 0, 1, phase)
    assert watch.look(now=0) is None
    if timeouts is None:
        assert watch.look(now=1e6) is None
    else:
        assert watch.look(now=10 * timeouts) is None
        assert watch.look(now=10 * timeouts + 1) is not None


def test_the_first_step_may_take_three_times_as_long(tmp_path: Path) -> None:
    watch = Watch(tmp_path, processes=1, first_rank=0, timeout=10)
    beat(tmp_path, 0, 40)
    assert watch.look(now=0) is None
    assert watch.look(now=30) is None
    assert watch.look(now=31) is not None


def test_a_hang_timeout_of_0_is_none(tmp_path: Path) -> None:
    watch = Watch(tmp_path, processes=1, first_rank=0, timeout=0)
    beat(tmp_path, 0, 1)
    watch.look(now=0)
    assert watch.look(now=1e6) is None


def test_a_half_written_heartbeat_is_no_news(tmp_path: Path) -> None:
    watch = Watch(tmp_path, processes=1, first_rank=0, timeout=10)
    beat(tmp_path, 0, 3)
    watch.look(now=0)
    beat(tmp_path, 0, 4)
    watch.look(now=0)
    (tmp_path / "heartbeat-0.json").write_text('{"time": 1')
    watch.look(now=5)
    assert watch.step == 4


def test_log_tail_takes_bytes_as_they_come() -> None:
    whole, pieces = LogTail(lines=3), LogTail(lines=3)
    text = "a\nb\nc ü\n 1%\r 50%\r100%\nlast".encode()
    whole.feed(text)
    for at in range(len(text)):
        pieces.feed(text[at : at + 1])
    assert whole.text() == pieces.text() == "c ü\n100%\nlast"


def test_log_tail_is_bounded() -> None:
    tail = LogTail(lines=2, width=10)
    for _ in range(1000):
        tail.feed(b"x" * 1000)
    assert len(tail.text()) <= 11
