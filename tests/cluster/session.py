"""The cluster as tests see it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .harness import cluster as harness
from .harness.images import USER
from .harness.kubectl import Kubectl, administrator
from .harness.layout import HOST, Layout
from .harness.waiting import ClusterError, until

T = TypeVar("T")
VOLUME_LABEL = "finetune.dev/test-namespace"
LIMIT = 120
"""Seconds; five times what an idle machine needs for most things. Waits end as soon as they can."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedFolder:
    """A folder of this machine that pods on all nodes mount by a ReadWriteMany claim."""

    claim: str
    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A cluster with the training operator and our CRD."""

    kubectl: Kubectl
    logs: Path
    """The components' and pods' logs."""
    layout: Layout | None
    """None: a cluster of the user's, which we can't cut nodes off."""

    @property
    def host(self) -> str | None:
        """This machine's address, as pods reach it."""
        return HOST if self.layout else os.environ.get("FINETUNE_TEST_HOST_ADDRESS")

    def apply(self, manifests: str | dict[str, Any], namespace: str | None = None) -> None:
        """Apply YAML, or one manifest."""
        text = manifests if isinstance(manifests, str) else json.dumps(manifests)
        self.kubectl.apply(text, *(["-n", namespace] if namespace else []))

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        """An object, or None when there is none."""
        text = self.kubectl("-n", namespace, "get", kind, name, "-o", "json", "--ignore-not-found")
        return dict(json.loads(text)) if text else None

    def list(self, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """The objects of a kind, by label."""
        text = self.kubectl("-n", namespace, "get", kind, "-l", selector, "-o", "json")
        return list(json.loads(text)["items"])

    def wait(self, what: str, probe: Callable[[], T | None], limit: float = LIMIT, *, step: float = 0.3) -> T:
        """Ask until there is an answer; the error of a wait in vain names the logs.

        Raises:
            ClusterError: not within `limit` seconds.
        """
        return until(f"{what} (logs: {self.logs})", probe, limit=limit, step=step)

    def kill_node(self, name: str) -> None:
        """Cut the power of node1 or node2; `start_node` brings it back."""
        harness.kill_node(self._own(), name)

    def start_node(self, name: str) -> None:
        """Switch a node on again, and return when it's ready."""
        harness.start_node(self._own(), name)

    def stop_kubelet(self, name: str) -> None:
        """End the kubelet of node1 or node2 alone: its pods run on; `start_kubelet` ends the silence."""
        harness.stop_kubelet(self._own(), name)

    def start_kubelet(self, name: str) -> None:
        """Start a node's kubelet again, and return when the node is ready."""
        harness.start_kubelet(self._own(), name)

    def share(
        self, namespace: str, claim: str = "shared", *, folder: Path | None = None, mode: str = "ReadWriteMany"
    ) -> SharedFolder:
        """A claim in a namespace for a folder of this machine, a new one unless said; both go with the namespace."""
        path = folder or self._own().shared / namespace / claim
        if folder is None:
            path.mkdir(parents=True)
            os.chown(path, USER, USER)
        size = {"storage": "1Gi"}
        common = {"accessModes": [mode], "storageClassName": ""}
        source = {"hostPath": {"path": str(path), "type": "Directory"}, "persistentVolumeReclaimPolicy": "Retain"}
        name = f"{namespace}-{claim}"
        metadata = {"name": name, "labels": {VOLUME_LABEL: namespace}}
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata}
        self.apply(volume | {"spec": common | source | {"capacity": size}})
        wanted = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim}}
        self.apply(wanted | {"spec": common | {"volumeName": name, "resources": {"requests": size}}}, namespace)
        return SharedFolder(claim=claim, path=path)

    def describe(self, namespace: str) -> Path:
        """Write what a namespace holds to a file beside the logs, for one who looks into a failure."""
        file = self.logs / f"{namespace}.txt"
        kinds = "events,pods,services,configmaps,pvc,pytorchjobs,finetunejobs"
        with file.open("w") as output:
            for arguments in (("-o", "wide"), ("-o", "yaml")):
                try:
                    output.write(self.kubectl("-n", namespace, "get", kinds, *arguments) + "\n\n")
                except (ClusterError, OSError) as error:  # the session's end may have taken the cluster down
                    output.write(f"{error}\n")
        return file

    def delete_namespace(self, namespace: str) -> None:
        """Delete it with all it holds and its shared folder; returns when its pods have ended."""
        self.kubectl("delete", "namespace", namespace, "--wait=false")  # from now on, no new pods
        self.kubectl("-n", namespace, "delete", "pods", "--all", "--grace-period=1", f"--timeout={LIMIT}s")
        if self.layout:
            self.kubectl("delete", "pv", "-l", f"{VOLUME_LABEL}={namespace}", "--wait=false")
            shutil.rmtree(self.layout.shared / namespace, ignore_errors=True)

    def _own(self) -> Layout:
        assert self.layout is not None, "ask for the fixture `machine` in a test that needs the harness's own cluster"
        return self.layout


def of_harness(layout: Layout) -> Cluster:
    """The cluster on this machine."""
    return Cluster(kubectl=administrator(layout), logs=layout.logs, layout=layout)


def of_user(kubeconfig: Path, logs: Path) -> Cluster:
    """A cluster that the user has; our CRD and rights are applied to it.

    Raises:
        ClusterError: no kubectl, or the cluster can't be reached.
    """
    program = shutil.which("kubectl")
    if program is None:
        raise ClusterError("KUBECONFIG is set, but there is no kubectl in PATH")
    kubectl = Kubectl(program=Path(program), kubeconfig=kubeconfig)
    harness.install(kubectl)
    return Cluster(kubectl=kubectl, logs=logs, layout=None)
