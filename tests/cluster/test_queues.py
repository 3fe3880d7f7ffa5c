"""Jobs in a real Kueue's queue, on real nodes: a place, an admission, an eviction in the middle of a run.

Slow: Kueue takes ten more minutes to build on two cores when nothing is compiled yet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import jobs, queues
from tests.cluster.harness import binaries, kueue
from tests.cluster.jobs import Job
from tests.cluster.session import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(2400)]

ONE_JOB = "6Gi"
"""What the pods of one job of two nodes ask for."""


@pytest.fixture(scope="module")
def with_kueue(cluster: Cluster, pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """The cluster, and a Kueue in it; built here, where it isn't yet."""
    if cluster.layout is None:
        pytest.skip("needs the harness's own cluster, and KUBECONFIG is set")
    binaries.ensure(cluster.layout, print, (binaries.KUEUE,))
    kueue.start(cluster.layout)
    yield cluster
    kueue.stop(cluster.layout)


@pytest.fixture
def room_for_one(with_kueue: Cluster, namespace: str) -> Iterator[Cluster]:
    """The queues of docs/queues.md, with quota for one job at a time."""
    with queues.quota(with_kueue, namespace, memory=ONE_JOB):
        yield with_kueue


def queued(name: str, priority: str, *, training: dict[str, Any] | None = None) -> dict[str, Any]:
    scheduling = {"queue": queues.QUEUE, "queuePriorityClassName": priority}
    return jobs.tiny(name, training=training, scheduling=scheduling)


def short(name: str, priority: str) -> dict[str, Any]:
    return queued(name, priority, training={"max_steps": 4})


def admitted(job: Job) -> tuple[str, str, str]:
    found = job.condition("Admitted")
    return found.get("status", ""), found.get("reason", ""), found.get("message", "")


def told(job: Job) -> list[str]:
    """Reasons of the job's events, in their order; equal times keep the order of the API server's versions."""
    text = job.cluster.kubectl("-n", job.namespace, "get", "events", "-o", "json")
    ours = [one for one in json.loads(text)["items"] if one["involvedObject"]["name"] == job.name]
    return [one["reason"] for one in sorted(ours, key=lambda one: int(one["metadata"]["resourceVersion"]))]


@pytest.mark.usefixtures("inputs")
def test_two_jobs_and_quota_for_one(room_for_one: Cluster, namespace: str) -> None:
    first = jobs.submit(room_for_one, namespace, short("first", "experiments"))
    first.until("it to be let in", lambda status: status.get("queue", {}).get("state") == "Admitted")
    expected = f"queue {queues.QUEUE}, cluster queue {queues.CLUSTER_QUEUE}, flavor a100"
    assert admitted(first) == ("True", "Admitted", expected)
    second = jobs.submit(room_for_one, namespace, short("second", "experiments"))
    third = jobs.submit(room_for_one, namespace, short("third", "experiments"))
    third.until("its place", lambda status: status.get("queue", {}).get("position") == 2)
    second.until("its place", lambda status: status.get("queue", {}).get("position") == 1)
    status, reason, message = admitted(second)
    print(json.dumps({"second": second.status, "third": third.status}, indent=1))
    assert (status, reason) == ("False", "Queued")
    assert message.startswith(f"position 1 in queue {queues.QUEUE}: couldn't assign flavors to pod set master")
    assert second.condition("Ready")["status"] == "True"
    assert second.pods() == {}

    first.until_state("Succeeded")
    second.until("it to be let in", lambda status: status.get("queue", {}).get("admissions") == 1)
    nodes = {pod["spec"]["nodeSelector"]["gpu.example.com/model"] for pod in second.pods().values()}
    assert nodes <= {"a100"}
    second.until_state("Succeeded")
    assert [one for one in told(second) if one in {"Queued", "Admitted", "Succeeded"}] == [
        "Queued",
        "Admitted",
        "Succeeded",
    ]


def test_a_run_that_is_preempted_goes_on_as_if_nothing_had_happened(
    room_for_one: Cluster, namespace: str, inputs: Path, unbroken: dict[int, float]
) -> None:
    low = jobs.submit(room_for_one, namespace, queued("low", "experiments"))
    low.until_checkpoint()
    high = jobs.submit(room_for_one, namespace, short("high", "production"))
    evicted = low.until_state("Queued")
    print(json.dumps(evicted, indent=1))
    status, reason, message = admitted(low)
    assert (status, reason) == ("False", "Preempted")
    assert message.startswith(f"evicted from queue {queues.QUEUE}: Preempted to accommodate a workload")
    assert (low.condition("Suspended")["reason"], low.condition("Ready")["status"]) == ("SuspendedByQueue", "True")
    high.until_state("Succeeded")

    low.until("it to be let in again", lambda status: status.get("queue", {}).get("admissions") == 2)
    low.until("steps", lambda status: status.get("state") == "Running")
    log = room_for_one.wait("its word on where it goes on", lambda: _goes_on(low), jobs.ENDED)
    ended = low.until_state("Succeeded")
    print(json.dumps(ended, indent=1), told(low), log)
    assert jobs.losses(jobs.output(inputs, low)) == pytest.approx(unbroken, abs=1e-4)
    assert int(log) >= 5, "at SIGTERM a checkpoint was saved, after the first of step 5"
    assert (ended["attempt"], [one["reason"] for one in ended["attempts"]]) == (1, ["Succeeded"])
    assert (ended["queue"]["admissions"], ended["queue"]["evictions"]) == (2, 1)
    turning = {"Queued", "Admitted", "Preempted", "Succeeded"}
    assert [one for one in told(low) if one in turning] == ["Queued", "Admitted", "Preempted", "Admitted", "Succeeded"]


def test_a_queue_that_is_not_there_or_stands_still_is_told(
    room_for_one: Cluster, namespace: str, inputs: Path
) -> None:
    lost = jobs.tiny("lost", scheduling={"queue": "nobody"})
    job = jobs.submit(room_for_one, namespace, lost)
    job.until("to be told", lambda status: "nobody" in status.get("message", "") and "doesn't" in status["message"])
    assert (job.condition("Ready")["reason"], job.condition("Stalled")["status"]) == ("QueueMissing", "True")
    room_for_one.kubectl("-n", namespace, "delete", "ftj", "lost", "--timeout=60s")
    room_for_one.wait("nothing to be left", lambda: not _left(room_for_one, namespace) or None)

    hold = json.dumps({"spec": {"stopPolicy": "Hold"}})
    queue = ("localqueues.kueue.x-k8s.io", queues.QUEUE)
    room_for_one.kubectl("-n", namespace, "patch", *queue, "--type=merge", "-p", hold)
    held = jobs.submit(room_for_one, namespace, short("held", "experiments"))
    found = held.until(
        "to be told", lambda status: re.search("inactive|stopped", status.get("message", "")) is not None
    )
    print(found["message"])
    assert held.condition("Ready")["status"] == "True"


def _goes_on(job: Job) -> str | None:
    """The step of the checkpoint from which the master goes on."""
    master = f"{job.name}-1-master-0"
    log = job.cluster.kubectl("-n", job.namespace, "logs", master, "-c", "pytorch", "--ignore-errors")
    found = re.search(r"goes on from checkpoint-(\d+)", log)
    return found[1] if found else None


def _left(cluster: Cluster, namespace: str) -> str:
    return cluster.kubectl("-n", namespace, "get", "pytorchjobs,workloads.kueue.x-k8s.io,pods", "-o", "name")
