"""Ranks that stand still: who is named, and what is kept of what they were doing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from supervised_pod import Pod, until

from finetune_trainer.supervise import stacks

RANKS = """
import signal, subprocess
CODE = '''
import os, signal, time
def wait_for_the_others():
    time.sleep(600)
def freeze():
    os.kill(os.getpid(), signal.SIGSTOP)
freeze() if os.environ["RANK"] == os.environ.get("FROZEN") else wait_for_the_others()
'''
for local, rank in enumerate(os.environ.get("HERE", "0 1").split()):
    beat(local, step=4), beat(local, step=5)
    subprocess.Popen([sys.executable, "-c", CODE], env={**os.environ, "RANK": rank})
time.sleep(600)
"""


def test_a_stopped_rank_is_named_and_all_stacks_are_kept(pod: Pod) -> None:
    pod.configure(processes_per_node=2, hang_timeout_seconds=1)
    code, outcome = pod.outcome(RANKS, PET_NPROC_PER_NODE="2", FROZEN="1")
    assert (code, outcome.reason, outcome.rank, outcome.step, outcome.retryable) == (1, "RankStopped", 1, 5, True)
    assert outcome.message.startswith("rank 1 is stopped (stopped) at step 5")
    assert "freeze" in outcome.log_tail
    assert "wait_for_the_others" not in outcome.log_tail
    kept = (pod.output / ".finetune" / "stacks-3-0.txt").read_text()
    assert kept.index("rank 0 (sleeping)") < kept.index("wait_for_the_others") < kept.index("rank 1 (stopped)")


def test_a_rank_that_only_stands_still_is_a_hang(pod: Pod) -> None:
    pod.configure(processes_per_node=2, hang_timeout_seconds=1)
    _, outcome = pod.outcome(RANKS, PET_NPROC_PER_NODE="2")
    assert (outcome.reason, outcome.rank) == ("Hang", 0)
    assert "wait_for_the_others" in outcome.log_tail
    assert ".finetune/stacks-3-0.txt" in outcome.message


def test_an_attempt_may_be_watched_otherwise_than_it_was_frozen(pod: Pod) -> None:
    pod.configure(processes_per_node=2)
    _, outcome = pod.outcome(RANKS, PET_NPROC_PER_NODE="2", FINETUNE_POLICY='{"hang_timeout_seconds": 1}')
    assert outcome.reason == "Hang"


def test_the_node_of_the_stopped_rank_tells_first(tmp_path: Path) -> None:
    """The operator takes the word that comes first, and the node that only waits looks a moment earlier here."""
    ends = {}
    pods = {rank: Pod(tmp_path / str(rank)) for rank in (0, 1)}
    for rank, pod in pods.items():
        pod.configure(nodes=2, hang_timeout_seconds=1)
        pod.start(RANKS, PET_NNODES="2", PET_NODE_RANK=str(rank), HERE=str(rank), FROZEN="1")
        until((pod.run / "heartbeat-0.json").exists)
    for rank, pod in pods.items():
        pod.started[0].wait(60)
        ends[rank] = ((pod.root / "termination").stat().st_mtime, pod.message.reason)
    assert {rank: reason for rank, (_, reason) in ends.items()} == {0: "Hang", 1: "RankStopped"}
    assert ends[1] < ends[0]


@pytest.fixture
def rank() -> Iterator[subprocess.Popen[bytes]]:
    """Rank 3, with a worker that has its variables."""
    code = "import os, time\nchild = os.fork()\ndef rank(): time.sleep(600)\ndef work(): time.sleep(601)\n"
    code += "rank() if child else work()"
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "RANK": "3"})
    yield process
    if process.poll() is None:
        for one in (*psutil.Process(process.pid).children(), process):
            one.kill()
        process.wait()


def test_a_ranks_workers_are_not_taken_for_it(rank: subprocess.Popen[bytes]) -> None:
    until(lambda: psutil.Process(rank.pid).children())
    (worker,) = psutil.Process(rank.pid).children()
    until(lambda: "rank (" in stacks.take([psutil.Process(rank.pid)])[0].text)
    (found,) = stacks.take([worker, psutil.Process(rank.pid)])
    assert (found.rank, found.state, found.is_stopped) == (3, "sleeping", False)
    assert "work (" not in found.text


def test_a_rank_that_is_gone_is_left_out(rank: subprocess.Popen[bytes]) -> None:
    seen = psutil.Process(rank.pid)
    until(seen.children)
    for one in (*seen.children(), rank):
        one.kill()
    rank.wait()
    assert stacks.take([seen]) == ()
