"""What a network profile asks of the node is looked at before any rank starts."""

from __future__ import annotations

import os
import resource

import pytest
from supervised_pod import Pod

from finetune_trainer.supervise import fabric

NEVER = "raise SystemExit('a rank was started')"
SMALL = 'ulimit -l 64 && exec setpriv --bounding-set=-ipc_lock "$@"'
"""A node as it comes: 64 KiB may be locked, and nobody may lock more."""
SOFT = 'ulimit -S -l 64 && ulimit -H -l 2048 && exec setpriv --bounding-set=-ipc_lock "$@"'
LIMITS = """
import pathlib, resource, sys
pathlib.Path({path!r}).write_text(str(resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]))
"""


def test_a_device_that_is_not_there(pod: Pod) -> None:
    pod.configure(network_device=str(pod.root / "infiniband"))
    code, outcome = pod.outcome(NEVER)
    assert (code, outcome.reason, outcome.retryable) == (1, "NetworkDeviceMissing", False)
    assert "rdma/hca: 1" in outcome.message


@pytest.mark.skipif(os.getuid() != 0, reason="takes a capability away")
def test_a_node_that_lets_too_little_be_locked_is_told_what_to_set(pod: Pod) -> None:
    pod.configure(min_memlock=-1)
    assert pod.start(NEVER, within=["sh", "-c", SMALL, "sh"]).wait(60) == 1
    assert (pod.message.reason, pod.message.retryable) == ("MemlockTooLow", False)
    assert "may lock 64 KiB of memory, the job's network profile needs an unlimited amount" in pod.message.message
    assert "LimitMEMLOCK=infinity" in pod.message.message


@pytest.mark.skipif(os.getuid() != 0, reason="takes a capability away")
def test_ranks_get_all_that_the_node_gives(pod: Pod) -> None:
    pod.configure(min_memlock=1 << 20)
    seen = pod.root / "limit"
    pod.start(LIMITS.format(path=str(seen)), within=["sh", "-c", SOFT, "sh"]).wait(60)
    assert seen.read_text() == str(2048 << 10)


@pytest.mark.parametrize(
    ("limit", "wanted", "enough"),
    [
        (resource.RLIM_INFINITY, -1, True),
        (resource.RLIM_INFINITY, 1 << 40, True),
        (8 << 20, -1, False),
        (8 << 20, 8 << 20, True),
        (8 << 20, (8 << 20) + 1, False),
    ],
)
def test_which_limit_suffices(limit: int, wanted: int, enough: bool) -> None:
    assert fabric.suffices(limit, wanted) is enough
