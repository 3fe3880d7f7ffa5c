"""What the harness leaves on a machine: nothing, also when it's killed. Runs before the session's cluster comes up.

That a whole session leaves nothing, with pods and all, is checked where the session's cluster ends (`borrow.py`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from tests.cluster.harness import cluster, layout, leftovers, state
from tests.cluster.harness.layout import CHECKOUT, Node
from tests.cluster.harness.node import component
from tests.cluster.harness.waiting import until

pytestmark = pytest.mark.cluster


def _start_and_kill_half_way(ours: layout.Layout) -> None:
    argv = [sys.executable, "-m", "tests.cluster.harness", "up", "--nodes", "1", "--disposable"]
    with subprocess.Popen(argv, cwd=CHECKOUT, start_new_session=True) as bringing_up:
        until("a kubelet", component(ours, Node(number=1), "kubelet").alive, alive=lambda: bringing_up.poll() is None)
        os.killpg(bringing_up.pid, signal.SIGKILL)


@pytest.mark.usefixtures("rights")
def test_nothing_is_left_of_a_cluster_whose_start_was_killed() -> None:
    ours = layout.default()
    if os.environ.get("FINETUNE_TEST_KUBECONFIG") or os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG is set: the harness is not used")
    known = state.load(ours)
    if known and (known.kept or state.in_use(ours)):
        pytest.skip("somebody uses this machine's cluster")
    cluster.build(ours, print)
    cluster.down(ours, print)
    before = state.sysctls(), state.missing_folders()

    _start_and_kill_half_way(ours)
    assert leftovers.find(ours), "the search for leftovers finds a cluster"
    cluster.down(ours, print)

    assert leftovers.find(ours) == []
    assert (state.sysctls(), state.missing_folders()) == before
    assert state.load(ours) is None
