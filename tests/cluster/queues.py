"""Kueue's objects for a test, as docs/queues.md shows them to people."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from .harness.layout import CHECKOUT
from .harness.waiting import ClusterError
from .session import Cluster

QUEUE = "team-a"
CLUSTER_QUEUE = "gpus"
_KINDS = ("ResourceFlavor", "ClusterQueue", "WorkloadPriorityClass")


def documented() -> list[dict[str, Any]]:
    """Kueue's manifests of docs/queues.md, in its order."""
    text = (CHECKOUT / "docs/queues.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    found = [one for block in blocks for one in yaml.safe_load_all(block)]
    return [one for one in found if str(one.get("apiVersion", "")).startswith("kueue.x-k8s.io/")]


@contextmanager
def quota(cluster: Cluster, namespace: str, *, memory: str) -> Iterator[None]:
    """The documented queues, with this much memory to give; nodes of the flavor's label stand behind them."""
    manifests = [_with_memory(one, memory) for one in documented()]
    [flavor] = [one for one in manifests if one["kind"] == "ResourceFlavor"]
    labels = flavor["spec"]["nodeLabels"]
    cluster.kubectl("label", "nodes", "--all", *(f"{key}={value}" for key, value in labels.items()))
    for one in manifests:
        cluster.apply(one, None if one["kind"] in _KINDS else namespace)
    try:
        yield
    finally:
        cluster.kubectl("-n", namespace, "delete", "finetunejobs", "--all", "--timeout=60s")
        cluster.kubectl("-n", namespace, "delete", "localqueues.kueue.x-k8s.io", "--all", "--timeout=60s")
        for one in reversed(manifests):
            if one["kind"] in _KINDS:
                _delete(cluster, one)
        cluster.kubectl("label", "nodes", "--all", *(f"{key}-" for key in labels))


def _delete(cluster: Cluster, manifest: dict[str, Any]) -> None:
    kind = f"{manifest['kind'].lower()}.kueue.x-k8s.io"
    try:
        cluster.kubectl("delete", kind, manifest["metadata"]["name"], "--timeout=60s")
    except ClusterError as error:
        raise ClusterError(f"{error}; workloads: {cluster.kubectl('get', 'workloads', '-A')}") from error


def _with_memory(manifest: dict[str, Any], memory: str) -> dict[str, Any]:
    """The ClusterQueue with another quota of memory, by which the tests' jobs are counted."""
    changed = copy.deepcopy(manifest)
    for group in changed.get("spec", {}).get("resourceGroups", ()):
        for resource in group["flavors"][0]["resources"]:
            if resource["name"] == "memory":
                resource["nominalQuota"] = memory
    return changed
