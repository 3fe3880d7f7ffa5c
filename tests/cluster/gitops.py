"""What kstatus, Flux, Argo CD and `kubectl wait` say of a FineTuneJob in every state that tests/golden/states holds.

kstatus, Flux and Argo CD answer by their own libraries, in the program `binaries/health`; they need no cluster.
"""

from __future__ import annotations

import copy
import functools
import json
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from .harness import binaries
from .harness.layout import CHECKOUT, Layout
from .harness.waiting import ClusterError
from .session import Cluster

Body = dict[str, Any]
RECORDED = CHECKOUT / "tests" / "golden" / "states"
THINGS = CHECKOUT / "deploy" / "gitops"
"""What users take: scripts, expressions, settings."""
FLUX = {"ready": "flux-kustomization.yaml", "trained": "flux-kustomization-trained.yaml"}
ARGO = {"ready": "health.lua", "trained": "health-trained.lua"}
CONDITIONS = (
    "Ready",
    "Reconciling",
    "Stalled",
    "Accepted",
    "Prepared",
    "Admitted",
    "PodsReady",
    "Training",
    "CheckpointAvailable",
    "Exported",
    "Suspended",
    "Succeeded",
)
WAITS = {
    **{condition: f"condition={condition}" for condition in CONDITIONS},
    "Succeeded=False": "condition=Succeeded=False",
    "completionTime": "jsonpath={.status.completionTime}",
}
"""What is waited for -> the argument of `kubectl wait --for`."""
_IGNORED = "resource.customizations.ignoreDifferences.finetune.dev_FineTuneJob"
_UNEQUAL_SECONDS = "hangTimeoutSeconds"
"""The field whose edits bring an object to its recorded generation."""


def recorded() -> dict[str, Body]:
    """The objects as the API server holds them, by state."""
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(RECORDED.glob("*.yaml"))}


def argocd_settings() -> dict[str, str]:
    """The data of the argocd-cm that we give to users."""
    data: dict[str, str] = yaml.safe_load((THINGS / "argocd-cm.yaml").read_text(encoding="utf-8"))["data"]
    return data


def libraries(
    layout: Layout, objects: Mapping[str, Body], manifests: Mapping[str, Body], ignore: Body | None = None
) -> dict[str, Any]:
    """The answers of kstatus, Flux and Argo CD, by state: see `binaries/health/main.go` for their form.

    Args:
        layout: where the program is cached.
        objects: by state, as the API server holds them.
        manifests: the same, as Git has them.
        ignore: Argo CD's ignoreDifferences; None: those of our argocd-cm.

    Raises:
        ClusterError: the program failed; the message has its words.
    """
    asked = {
        "objects": objects,
        "manifests": manifests,
        "flux": {name: _expressions(THINGS / file) for name, file in FLUX.items()},
        "argo": {name: (THINGS / file).read_text(encoding="utf-8") for name, file in ARGO.items()},
        "ignore": yaml.safe_load(argocd_settings()[_IGNORED]) if ignore is None else ignore,
    }
    program = binaries.HEALTH.path(layout)
    done = subprocess.run([program], input=json.dumps(asked), capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise ClusterError(done.stderr)
    return dict(json.loads(done.stdout))


def _expressions(file: Path) -> dict[str, str]:
    """The healthCheckExprs of a Flux Kustomization, without the kind that they are for."""
    [said] = yaml.safe_load(file.read_text(encoding="utf-8"))["spec"]["healthCheckExprs"]
    return {key: said[key] for key in ("inProgress", "failed", "current")}


def put(cluster: Cluster, namespace: str, objects: Mapping[str, Body]) -> None:
    """Have the API server hold the objects as recorded, each under the name of its state; no operator may run."""
    bodies = {name: _alive(body, name, namespace) for name, body in objects.items()}
    for edits in reversed(range(max(body["metadata"]["generation"] for body in bodies.values()))):
        _apply(cluster, [_edited(one, edits) for one in bodies.values() if edits < one["metadata"]["generation"]])
    cluster.kubectl("replace", "--subresource=status", "-f", "-", stdin=_listed(list(bodies.values())))
    deleted = [name for name, body in objects.items() if "deletionTimestamp" in body["metadata"]]
    for name in deleted:
        _hold(cluster, namespace, name)
        cluster.kubectl("-n", namespace, "delete", "finetunejob", name, "--cascade=foreground", "--wait=false")


def held(cluster: Cluster, namespace: str) -> dict[str, Body]:
    """What the API server holds of them, by state."""
    return {body["metadata"]["name"]: body for body in cluster.list("finetunejobs", namespace)}


def waits(cluster: Cluster, namespace: str) -> dict[str, list[str]]:
    """The states in which each wait is over at once, by what is waited for.

    All at the same time: kubectl asks for five objects a second.
    """
    with ThreadPoolExecutor(len(WAITS)) as pool:
        found = pool.map(functools.partial(_met, cluster, namespace), WAITS.values())
        return dict(zip(WAITS, found, strict=True))


def let_go(cluster: Cluster, namespace: str) -> None:
    """Let what was held back in its deletion go."""
    patch = '{"metadata": {"finalizers": null}}'
    for held_back in cluster.list("configmaps", namespace):
        if held_back["metadata"].get("finalizers"):
            name = held_back["metadata"]["name"]
            cluster.kubectl("-n", namespace, "patch", "configmap", name, "--type=merge", "-p", patch)


def _met(cluster: Cluster, namespace: str, wanted: str) -> list[str]:
    """States for which `kubectl wait` returns at once."""
    argv = [str(cluster.kubectl.program), f"--kubeconfig={cluster.kubectl.kubeconfig}", "-n", namespace]
    asked = [*argv, "wait", "finetunejobs", "--all", f"--for={wanted}", "--timeout=0"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
    lines = [line for line in done.stdout.splitlines() if line.endswith(" condition met")]
    return [line.removesuffix(" condition met").partition("/")[2] for line in lines]


def _alive(body: Body, name: str, namespace: str) -> Body:
    """Of a recorded object: what can be written, for an object of this name."""
    generation = body["metadata"]["generation"] - ("deletionTimestamp" in body["metadata"])
    return {**body, "metadata": {"name": name, "namespace": namespace, "generation": generation}}


def _edited(body: Body, edits: int) -> Body:
    """The manifest as it was before its last `edits` edits."""
    before = copy.deepcopy({key: body[key] for key in ("apiVersion", "kind", "spec")})
    before["spec"]["runPolicy"][_UNEQUAL_SECONDS] += edits
    return {**before, "metadata": {key: body["metadata"][key] for key in ("name", "namespace")}}


def _apply(cluster: Cluster, bodies: list[Body]) -> None:
    cluster.kubectl.apply(_listed(bodies))


def _listed(bodies: list[Body]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})


def _hold(cluster: Cluster, namespace: str, name: str) -> None:
    """A child that takes its time to go: a deletion in the foreground waits for it."""
    job = cluster.get("finetunejob", name, namespace)
    assert job is not None, f"{name} was applied a moment ago"
    owner = {key: job[key] for key in ("apiVersion", "kind")} | {"name": name, "uid": job["metadata"]["uid"]}
    metadata = {
        "name": f"child-of-{name}",
        "namespace": namespace,
        "finalizers": ["finetune.dev/held-by-a-test"],
        "ownerReferences": [{**owner, "blockOwnerDeletion": True}],
    }
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
