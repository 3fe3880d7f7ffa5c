"""The chart's account and rights in each of its modes, as the real Helm renders them, without the rest of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from .audit import Right, granted
from .harness import binaries
from .harness.layout import Layout
from .helm import CHART
from .session import Cluster

MODES = ("cluster", "namespaced")
"""It serves all namespaces, or named ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rights:
    """What an operator of this mode may do."""

    mode: str
    account: str
    """`namespace:name`."""
    roles: tuple[dict[str, Any], ...]
    """ClusterRole, and the Role of each namespace that is served."""

    @property
    def user(self) -> str:
        """As the API server calls it."""
        return f"system:serviceaccount:{self.account}"

    def all(self) -> set[Right]:
        """Every right of every role."""
        return {right for role in self.roles for right in granted(role)}


@contextmanager
def applied(cluster: Cluster, mode: str, served: str) -> Iterator[Rights]:
    """The rights, in the cluster for as long as the `with` lasts; of the namespaced mode, in `served` alone."""
    assert cluster.layout is not None, "Helm is built with the harness's programs"
    namespace = f"{served}-{mode}"
    manifests = _rendered(cluster.layout, mode, served, namespace)
    cluster.kubectl("create", "namespace", namespace)
    try:
        cluster.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))
        yield _rights(mode, manifests)
    finally:
        kinds = "clusterroles,clusterrolebindings"
        cluster.kubectl("delete", kinds, "-l", f"app.kubernetes.io/instance={namespace}", "--wait=false")
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def _rendered(layout: Layout, mode: str, served: str, namespace: str) -> list[dict[str, Any]]:
    names = json.dumps([served] if mode == "namespaced" else [])
    shown = [f"--show-only=templates/{name}.yaml" for name in ("serviceaccount", "rbac")]
    argv = [str(binaries.HELM.path(layout)), "template", namespace, str(CHART), *shown]
    argv += ["--namespace", namespace, "--set-json", f"namespaces={names}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def _rights(mode: str, manifests: list[dict[str, Any]]) -> Rights:
    [account] = [one["metadata"] for one in manifests if one["kind"] == "ServiceAccount"]
    roles = tuple(one for one in manifests if one["kind"] in {"ClusterRole", "Role"})
    return Rights(mode=mode, account=f"{account['namespace']}:{account['name']}", roles=roles)
