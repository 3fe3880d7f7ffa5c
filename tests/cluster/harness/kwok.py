"""Nodes of kwok: Ready, with GPUs to give, and whatever is bound to them runs at once, or is gone at once.

For tests of scale; tests of what a job waits for use tests/cluster/simulated.py, where nobody starts a pod. The nodes
are tainted: `PLACE` is the `scheduling` of a FineTuneJob that wants them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from . import binaries
from .binaries import KWOK, STAGES
from .controlplane import component
from .kubectl import administrator
from .layout import Layout
from .waiting import until

TAINT = "kwok.x-k8s.io/node"
PLACE: Mapping[str, Any] = {"nodeSelector": {"type": "kwok"}, "tolerations": [{"operator": "Exists"}]}
"""Every taint: where the machine is busy kwok's heartbeats are late, and pods of its nodes would be evicted."""
_ANNOTATION = {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"}
_LABEL = {"type": "kwok"}
_ROOM = {"cpu": "9999", "memory": "999Ti", "ephemeral-storage": "999Ti", "pods": "2000", "nvidia.com/gpu": "1000"}
"""Of each node: who waits for room measures the scheduler."""
_PORT = 12247


def start(layout: Layout, nodes: int) -> None:
    """Start kwok and make so many nodes; returns when all are ready."""
    binaries.ensure(layout, print, (KWOK,))
    kwok = component(layout, "kwok")
    kwok.start(
        [
            KWOK.path(layout),
            f"--kubeconfig={layout.kubeconfig}",
            f"--config={KWOK.folder(layout) / STAGES}",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            "--node-lease-duration-seconds=40",
            f"--server-address=127.0.0.1:{_PORT}",
        ]
    )
    kubectl = administrator(layout)
    items = [_node(f"kwok-{number}") for number in range(nodes)]
    kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    ready = ("wait", "--for=condition=Ready", "nodes", "-l", "type=kwok", "--timeout=60s")
    until("kwok's nodes", lambda: kubectl(*ready), alive=kwok.alive, log=kwok.log)


def stop(layout: Layout) -> None:
    """Remove the nodes, with what was bound to them, and end kwok."""
    kubectl = administrator(layout)
    kubectl("delete", "nodes", "-l", "type=kwok", "--ignore-not-found")
    component(layout, "kwok").stop()


def _node(name: str) -> dict[str, Any]:
    labels = {**_LABEL, "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "annotations": _ANNOTATION, "labels": labels},
        "spec": {"taints": [{"key": TAINT, "value": "fake", "effect": "NoSchedule"}]},
        "status": {"capacity": _ROOM, "allocatable": _ROOM},
    }
