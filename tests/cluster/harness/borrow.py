"""A cluster for a test session: the one that is up, or a new one that goes with its last user."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from . import cluster, leftovers, state
from .cluster import Say
from .controlplane import component
from .kubectl import administrator
from .layout import Layout
from .waiting import ClusterError

NODES = int(os.environ.get("FINETUNE_TEST_NODES", "2"))
"""None are enough for tests whose pods are played."""


@contextmanager
def borrowed(layout: Layout, say: Say) -> Iterator[None]:
    """Use the cluster that a person or another session brought up, or bring one up.

    One that nobody keeps and nobody uses is the remains of a session that was killed: it's replaced.

    Raises:
        ClusterError: the cluster does not come up, or something of it is left after its end.
    """
    cluster.build(layout, say)
    with state.changing(layout):
        if _usable(layout):
            cluster.install(administrator(layout))
        else:
            cluster.create(layout, nodes=NODES, kept=False, say=say)
        user = state.join(layout)
    try:
        yield
    finally:
        user.close()
        _return(layout)


def _usable(layout: Layout) -> bool:
    known = state.load(layout)
    if known is None or not known.complete or known.nodes < NODES or not (known.kept or state.in_use(layout)):
        return False
    if not component(layout, "kube-apiserver").alive():
        return False
    try:
        if known.nodes:
            administrator(layout)("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s")
    except ClusterError:
        return False
    return True


def _return(layout: Layout) -> None:
    with state.changing(layout):
        known = state.load(layout)
        if known is None or known.kept or state.in_use(layout):
            return
        cluster.remove(layout)
        if left := leftovers.find(layout):
            raise ClusterError("the cluster left behind:\n" + "\n".join(left))
