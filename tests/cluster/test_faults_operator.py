"""What breaks on purpose between the operator and its API server, and around both: docs/faults-operator.md.

A job of two attempts lives for seconds, its pods are played; see `world`. In every fault: at most one attempt lives,
they are numbered without gaps, the one failure counts once, no child is left over, and the operator asks no more of
the API server than the bounds of `world`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.api_proxy import WRITES, ApiProxy, Fault
from tests.cluster.harness import machine
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.played_pods import PlayedPods
from tests.cluster.session import Cluster
from tests.cluster.world import RESYNC, World

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]
Begin = Callable[..., World]


@pytest.fixture
def begin(machine_cluster: Cluster, namespace: str, _operator: OperatorProcess, tmp_path: Path) -> Iterator[Begin]:
    """Makes a world in which an operator runs behind a proxy, and the pods of a namespace are played."""
    _operator.stop()
    made: list[World] = []
    with ApiProxy(machine_cluster) as proxy, PlayedPods(machine_cluster, namespace) as pods:

        def make(fault: str, **besides: Any) -> World:
            world = World(machine_cluster, namespace, tmp_path, proxy, pods, fault=fault, **besides)
            made.append(world)
            world.operator.start({"resync_seconds": RESYNC})
            return world

        yield make
        for world in made:
            world.end()


FAULTS: tuple[tuple[str, Fault, float], ...] = (
    ("nothing", Fault(), 0),
    ("every call takes a second longer", Fault(delay=1.0), 0),
    ("the API server is away for 12 s", Fault(away=True), 12),
    ("every call is answered 429 with Retry-After 1 for 12 s", Fault(status=429, retry_after=1), 12),
    ("every call is answered 500 for 12 s", Fault(status=500), 12),
    ("every call is answered 500 for 80 s", Fault(status=500), 80),
    ("every 20th call is answered 500", Fault(status=500, every=20), 0),
    ("every write is answered 409 for 12 s", Fault(status=409, only=WRITES), 12),
    ("every second write is answered 409", Fault(status=409, only=WRITES, every=2), 0),
    ("watches are cut every second", Fault(watch="cut", seconds=1), 0),
    ("watches are closed at once", Fault(watch="cut", seconds=0), 0),
    ("watches are open but silent, and their events are lost", Fault(watch="silent"), 0),
    ("watches are three seconds late", Fault(watch="late", seconds=3), 0),
    ("watches are answered 410 for 12 s", Fault(watch="gone"), 12),
    ("watches bring an event with 410 for 12 s", Fault(watch="gone-event"), 12),
)
"""What it is called, what is done, and for how many seconds; 0: to the job's end."""
LIBRARIES, FAKETIME = Path("/usr/lib"), "*/faketime/libfaketime.so.1"
QUICK = {"watches are open but silent, and their events are lost"}


@pytest.mark.parametrize(
    ("fault", "how", "seconds"),
    [pytest.param(*one, marks=[] if one[0] in QUICK else [pytest.mark.slow], id=one[0]) for one in FAULTS],
)
def test_the_api_server(begin: Begin, fault: str, how: Fault, seconds: float) -> None:
    """From a random moment of attempt 1 on."""
    world = begin(fault)
    world.submit()
    world.running(1)
    time.sleep(world.draw.uniform(0, world.pods.script.life))
    world.breaks(how)
    if seconds:
        time.sleep(seconds)
        world.mends()
    world.succeeds()
    world.is_modest()
    world.leaves_nothing()
    world.keep()


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=[pytest.mark.slow] if seed else []) for seed in range(10)])
def test_the_operator_is_killed_at_random_moments(begin: Begin, seed: int) -> None:
    """Five kills a run; half of them within half a second of a start's end, when it looks at all jobs."""
    world = begin("the operator is killed five times", seed=seed)
    world.breaks(Fault())
    world.submit()
    for _ in range(5):
        if world.draw.random() < 0.75:
            with suppress(OSError):
                world.cluster.wait("the operator", world.operator.healthy, step=0.02)
        time.sleep(world.draw.uniform(0, world.draw.choice((0.5, 3.0))))
        world.operator.crash()
    world.succeeds()
    world.is_modest(starts=5)
    world.leaves_nothing()
    world.keep()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_two_operators_at_once(begin: Begin, delay: float, seed: int) -> None:
    """Slow calls make it likely that one acts upon what the other has changed."""
    world = begin(f"two operators at once{', each call 0.3 s longer' if delay else ''}", seed=seed)
    world.second.start({"resync_seconds": world.draw.randint(3, 7)})
    world.breaks(Fault(delay=delay))
    world.submit()
    world.succeeds()
    world.is_modest(operators=2)
    world.leaves_nothing()
    world.keep()


@pytest.mark.slow
@pytest.mark.parametrize(("by", "words"), [("+2h", "two hours ahead"), ("-2h", "two hours behind")])
def test_the_operators_clock_is_wrong(begin: Begin, tmp_path: Path, by: str, words: str) -> None:
    """Debian's libfaketime stands before its C library; the monotonic clock is right, as it is on such machines."""
    if not list(LIBRARIES.glob(FAKETIME)):
        machine.install(["libfaketime"], tmp_path / "apt.log")
    [library] = LIBRARIES.glob(FAKETIME)
    shifted = {"LD_PRELOAD": str(library), "FAKETIME": by, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    world = begin(f"the operator's clock is {words}", environment=shifted)
    world.breaks(Fault())
    world.submit(runPolicy={"maxAttempts": 3, "activeDeadlineSeconds": 600})
    world.succeeds()
    world.is_modest()
    world.leaves_nothing()
    world.keep()


@pytest.mark.slow
def test_a_quota_refuses_the_pytorchjob(begin: Begin) -> None:
    world = begin("a ResourceQuota refuses the PyTorchJob for 10 s")
    with world.under({"kind": "ResourceQuota", "spec": {"hard": {"count/pytorchjobs.kubeflow.org": "0"}}}):
        world.breaks(Fault())
        world.submit()
        world.tells("Reconciling", "ApplyRefused", "exceeded quota")
        time.sleep(10)
    world.mends()
    world.succeeds()
    world.is_modest()
    world.keep()


@pytest.mark.parametrize(
    ("fault", "policy", "words"),
    [
        pytest.param(
            "a ResourceQuota refuses the pods for 10 s",
            {"kind": "ResourceQuota", "spec": {"hard": {"pods": "1"}}},
            "exceeded quota",
            marks=[pytest.mark.slow],
            id="quota",
        ),
        pytest.param(
            "a LimitRange refuses the pods for 10 s",
            {"kind": "LimitRange", "spec": {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]}},
            "maximum memory usage per Container is 1Gi",
            marks=[pytest.mark.slow],
            id="limit range",
        ),
    ],
)
def test_the_pods_are_refused(begin: Begin, fault: str, policy: dict[str, Any], words: str) -> None:
    """The training operator makes them, and is refused; what it is told, the job's status tells."""
    world = begin(fault)
    with world.under(policy):
        world.breaks(Fault())
        world.submit()
        world.tells("PodsReady", "PodsRefused", words)
        time.sleep(10)
    world.mends()
    world.succeeds()
    world.is_modest()
    world.keep()


@pytest.mark.slow
def test_the_training_operators_webhook_is_down(begin: Begin) -> None:
    world = begin("the training operator's webhook does not answer for 10 s")
    name = "validator.training-operator.kubeflow.org"
    before = world.cluster.get("validatingwebhookconfiguration", name, "default") or {}
    port = [{"op": "replace", "path": f"/webhooks/{at}/clientConfig/service/port", "value": 9} for at in range(9)]
    patch = ("patch", "validatingwebhookconfiguration", name, "--type=json", "-p")
    try:
        world.cluster.kubectl(*patch, json.dumps(port[: len(before["webhooks"])]))
        world.breaks(Fault())
        world.submit()
        world.tells("Reconciling", "WebhookUnavailable", "failed calling webhook")
        time.sleep(10)
    finally:
        restored = [one | {"value": 443} for one in port[: len(before["webhooks"])]]
        world.cluster.kubectl(*patch, json.dumps(restored))
    world.mends()
    world.succeeds()
    world.is_modest()
    world.keep()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_namespace_is_deleted(begin: Begin, seed: int) -> None:
    """At a random moment; nothing is left, nothing new is started, and nobody asks for the job any more."""
    world = begin("the namespace is deleted", seed=seed)
    world.submit()
    time.sleep(world.draw.uniform(0, 6))
    world.breaks(Fault())
    world.cluster.kubectl("delete", "namespace", world.namespace, "--timeout=90s")
    world.mends()
    assert world.watcher.beside_each_other() == []
    assert sorted(set(world.watcher.attempts())) == world.watcher.attempts()
    world.is_modest()
    world.cluster.kubectl("create", "namespace", world.namespace)  # the fixture will delete it
    world.keep()
