"""Kueue's part of a story: what it writes to its Workload and to the PyTorchJob, in its order."""

from __future__ import annotations

from typing import Any

from tests.stories.fake_cluster import FakeCluster

from finetune_operator import names

Raw = dict[str, Any]


def enqueue(world: FakeCluster, message: str = "", *, name: str = "demo-1", reason: str = "Pending") -> Raw:
    """The Workload of a PyTorchJob; with a message, why it waits."""
    job = world.objects["PyTorchJob", "default", name]
    metadata = {
        "name": f"pytorchjob-{name}",
        "namespace": "default",
        "labels": {names.LABEL_QUEUED_UID: job["metadata"]["uid"]},
        "ownerReferences": [{"uid": job["metadata"]["uid"]}],
    }
    spec = {"queueName": job["metadata"]["labels"][names.LABEL_QUEUE]}
    workload = world.put({"kind": "Workload", "metadata": metadata, "spec": spec})
    if message:
        say(world, name, "QuotaReserved", "False", reason=reason, message=message)
    return workload


def place(world: FakeCluster, position: int, *, name: str = "demo-1") -> None:
    """Its place in its queue, from 0 as Kueue counts; two more jobs of other queues are before it."""
    world.pending = [
        {
            "metadata": {"name": f"pytorchjob-{name}"},
            "positionInLocalQueue": position,
            "positionInClusterQueue": position + 2,
        }
    ]


def say(world: FakeCluster, name: str, kind: str, status: str, **more: str) -> None:
    """A condition of the Workload."""
    workload = world.objects["Workload", "default", f"pytorchjob-{name}"]
    said = workload.setdefault("status", {}).setdefault("conditions", [])
    said[:] = [one for one in said if one["type"] != kind]
    said.append({"type": kind, "status": status, "lastTransitionTime": world.stamp(), **more})


def admit(world: FakeCluster, name: str = "demo-1") -> None:
    """Quota for all pods, and the PyTorchJob is let go."""
    world.pending = []
    workload = world.objects.get(("Workload", "default", f"pytorchjob-{name}")) or enqueue(world, name=name)
    say(world, name, "QuotaReserved", "True")
    say(world, name, "Evicted", "False", reason="QuotaReserved", message="Previously: Preempted")
    say(world, name, "Admitted", "True", reason="Admitted", message="The workload is admitted")
    assigned = [{"name": kind, "flavors": {"cpu": "a100", "nvidia.com/gpu": "a100"}} for kind in ("master", "worker")]
    workload["status"]["admission"] = {"clusterQueue": "gpus", "podSetAssignments": assigned}
    world.suspend_pytorchjob(name, suspend=False)


def mark_evicted(world: FakeCluster, name: str = "demo-1", reason: str = "Preempted") -> None:
    """What Kueue writes first."""
    say(world, name, "Evicted", "True", reason=reason, message="Preempted to accommodate a workload (UID: 7)")
    say(world, name, "Admitted", "False", reason="NoReservation", message="The workload has no reservation")


def evict(world: FakeCluster, name: str = "demo-1", reason: str = "Preempted") -> None:
    """Then it suspends the PyTorchJob, and its quota is free."""
    mark_evicted(world, name, reason)
    world.suspend_pytorchjob(name, suspend=True)
    del world.objects["Workload", "default", f"pytorchjob-{name}"]["status"]["admission"]
    say(world, name, "QuotaReserved", "False", reason="Pending", message="couldn't assign flavors to pod set master")
