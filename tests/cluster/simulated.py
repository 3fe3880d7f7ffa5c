"""Nodes that no machine stands behind: Ready, with GPUs to give, and nobody who starts what is bound to them.

A thread plays the two parts of a kubelet without which the cluster would take the node for lost: it renews the lease,
and it confirms that a pod which is to be deleted has ended.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from .session import Cluster

TAINT = "nvidia.com/gpu"
"""Keeps other pods away; the API server lets those tolerate it that ask for the resource of that name."""
BEAT_SECONDS = 2.0
"""The controller manager gives a node up after 10 s."""


@contextmanager
def nodes(
    cluster: Cluster, names: Sequence[str], resources: Mapping[str, str], *, taint: str | None = TAINT
) -> Iterator[None]:
    """Nodes with these names and resources for as long as the `with` lasts."""
    cluster.kubectl("create", "-f", "-", stdin=_list(_node(name, taint) for name in names))
    status = json.dumps({"status": _status(resources)})
    for name in names:
        cluster.kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", status)
    stop = threading.Event()
    kubelet = threading.Thread(target=_live, args=(cluster, names, stop), name="simulated nodes")
    kubelet.start()
    try:
        for name in names:
            cluster.kubectl("wait", "--for=condition=Ready", f"node/{name}", "--timeout=60s")
            cluster.wait(f"{name} to take pods", lambda name=name: _is_open(cluster, name, taint) or None)  # type: ignore[misc]
        yield
    finally:
        stop.set()
        kubelet.join()
        cluster.kubectl("delete", "nodes", *names, "--wait=false")
        cluster.kubectl("-n", "kube-node-lease", "delete", "leases", *names, "--ignore-not-found")


@contextmanager
def alone(cluster: Cluster, others: Sequence[str]) -> Iterator[None]:
    """The nodes that are real take no new pod for as long as the `with` lasts."""
    cluster.kubectl("cordon", *others)
    try:
        yield
    finally:
        cluster.kubectl("uncordon", *others)


def end_pod(cluster: Cluster, namespace: str, pod: Mapping[str, Any], message: str, *, exit_code: int = 0) -> None:
    """What a kubelet would tell of a pod that ran to its end and left this termination message."""
    reason = "Error" if exit_code else "Completed"
    times = {"startedAt": _now(), "finishedAt": _now()}
    ended = {"exitCode": exit_code, "reason": reason, "message": message, **times}
    _tell(cluster, namespace, pod, "Failed" if exit_code else "Succeeded", {"terminated": ended})


def run_pod(cluster: Cluster, namespace: str, pod: Mapping[str, Any]) -> None:
    """What a kubelet would tell of a pod that it has started."""
    _tell(cluster, namespace, pod, "Running", {"running": {"startedAt": _now()}})


def _tell(cluster: Cluster, namespace: str, pod: Mapping[str, Any], phase: str, state: Mapping[str, Any]) -> None:
    told = [
        {"name": one["name"], "image": one["image"], "imageID": "", "ready": False, "restartCount": 0, "state": state}
        for one in pod["spec"]["containers"]
    ]
    status = json.dumps({"status": {"phase": phase, "containerStatuses": told}})
    name = pod["metadata"]["name"]
    cluster.kubectl("-n", namespace, "patch", "pod", name, "--subresource=status", "--type=merge", "-p", status)


def _live(cluster: Cluster, names: Sequence[str], stop: threading.Event) -> None:
    while True:
        cluster.kubectl.apply(_list(_lease(name) for name in names))
        _end_pods(cluster, names)
        if stop.wait(BEAT_SECONDS):
            return


def _end_pods(cluster: Cluster, names: Sequence[str]) -> None:
    """Pods that are being deleted are gone at once: nothing of them runs."""
    found = json.loads(cluster.kubectl("get", "pods", "--all-namespaces", "-o", "json"))["items"]
    for pod in found:
        if pod["spec"].get("nodeName") in names and "deletionTimestamp" in pod["metadata"]:
            namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
            at_once = ("--grace-period=0", "--force", "--ignore-not-found", "--wait=false")
            cluster.kubectl("-n", namespace, "delete", "pod", name, *at_once)


def _is_open(cluster: Cluster, name: str, wanted: str | None) -> bool:
    node = cluster.get("node", name, "default") or {}
    return [taint["key"] for taint in node["spec"].get("taints", [])] == ([wanted] if wanted else [])


def _list(items: Iterable[Mapping[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)})


def _node(name: str, tainted: str | None) -> dict[str, Any]:
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    taints = [{"key": tainted, "value": "present", "effect": "NoSchedule"}] if tainted else []
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints},
    }


def _status(resources: Mapping[str, str]) -> dict[str, Any]:
    amounts = {"pods": "110", **resources}
    ready = {"type": "Ready", "status": "True", "reason": "Simulated", "lastHeartbeatTime": _now()}
    return {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}


def _lease(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": _now()},
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
