"""One job of many nodes: how long until its PyTorchJob and until its status says that all pods run, and its price."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

import psutil
from benchmarks import scale_objects, scale_usage, scale_watch
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.session import Cluster

NAMESPACE = "wide"
QUIET_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Wide:
    """Seconds from the job's creation."""

    nodes: int
    started: float
    """Until its PyTorchJob."""
    pods: float
    """Until the training operator had made its last pod."""
    running_there: float
    """Until the training operator said Running."""
    running: float
    """Until our status said Running: all pods run."""
    writes: int
    """Status writes until all was quiet."""
    asked: Counter[str]
    rss: float


def measure(real: Cluster, operator: OperatorProcess, nodes: int) -> Wide:
    """Create it, and watch until it runs and nothing changes any more."""
    place = real.layout
    assert place is not None
    assert operator.pid is not None
    real.kubectl("create", "namespace", NAMESPACE)
    before = scale_usage.asked(operator.health_url)
    with (
        scale_watch.watched(place, scale_watch.FINETUNEJOBS.format(NAMESPACE), scale_watch.finetunejob) as told,
        scale_watch.watched(place, scale_watch.PYTORCHJOBS.format(NAMESPACE), scale_watch.pytorchjob) as started,
        scale_watch.watched(place, scale_watch.PODS.format(NAMESPACE), scale_watch.pod) as pods,
    ):
        claim = real.share(NAMESPACE).claim
        real.apply(scale_objects.finetunejob("wide", nodes=nodes, claim=claim), NAMESPACE)
        real.wait("all to run", lambda: told.count("Running") or None, 300, step=0.02)
        time.sleep(QUIET_SECONDS)
    begin = told.times("created")["wide"]
    return Wide(
        nodes=nodes,
        started=started.times("created")["wide-1"] - begin,
        pods=max(pods.times("created").values()) - begin,
        running_there=started.times("Running")["wide-1"] - begin,
        running=told.times("Running")["wide"] - begin,
        writes=told.changes["wide"] - 1,
        asked=scale_usage.asked(operator.health_url) - before,
        rss=psutil.Process(operator.pid).memory_info().rss / 2**20,
    )
