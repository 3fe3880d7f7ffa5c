"""Kueue, as a process of the host, in a cluster that is up: for the tests that ask for it.

Its manifests are upstream's (config/default of its module), with three differences: Services lead to the host instead
of a pod, its configuration has the PyTorchJob integration that upstream leaves out, and its webhooks see only Kueue's
own kinds and PyTorchJobs, so that no other test's pods wait for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .binaries import KUEUE, MANIFESTS
from .controlplane import component
from .kubectl import administrator
from .layout import HOST, Layout
from .process import Component
from .training_operator import copy_certificates
from .waiting import until

NAMESPACE = "kueue-system"
_WEBHOOKS, _VISIBILITY = 19443, 18082
_PORTS = {"kueue-webhook-service": ("", _WEBHOOKS), "kueue-visibility-server": ("https", _VISIBILITY)}
"""Service -> (name of its port, port on the host); who else has one is not reached."""
_OURS = ("kueue.x-k8s.io", "kubeflow.org")
_FRAMEWORKS = ("kubeflow.org/pytorchjob",)
_IN_THE_WAY = (
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
    "APIService",
    "CustomResourceDefinition",
)
"""Kinds that concern others: without Kueue they would hold up requests, or the deletion of namespaces."""

Manifest = dict[str, Any]


def start(layout: Layout) -> None:
    """Apply its manifests, start it, and return when its webhooks and its API server answer.

    Raises:
        ClusterError: it ended, or is not ready in time; the message has its log's end.
    """
    documents = [one for text in _documents(layout) if (one := _for_host(text)) is not None]
    endpoints = [json.dumps(_endpoint(service)) for service in _PORTS]
    administrator(layout).apply("\n---\n".join([*documents, *endpoints]))
    certificates = layout.data / "kueue-certificates"
    certificates.mkdir(parents=True, exist_ok=True)
    process = _process(layout)
    process.stop()  # of a session that was killed
    Path("/visibility").mkdir(exist_ok=True)  # Kueue's fixed place for the certificate of its API server
    process.start(
        [KUEUE.path(layout), f"--config={_configuration(layout, certificates)}", f"--kubeconfig={layout.kubeconfig}"]
    )
    secret = (NAMESPACE, "kueue-webhook-server-cert", certificates)
    until(
        "Kueue's certificates",
        lambda: copy_certificates(layout, *secret),
        alive=process.alive,
        log=process.log,
    )
    until("Kueue", lambda: _answers(layout), alive=process.alive, log=process.log)


def stop(layout: Layout) -> None:
    """End it when it has let go of what it queued, and remove what would be in the way of others without it."""
    kubectl = administrator(layout)
    for kind in ("workloads", "localqueues", "clusterqueues", "resourceflavors"):
        until(f"the last of Kueue's {kind} to go", lambda kind=kind: not _left(layout, kind))  # type: ignore[misc]
    _process(layout).stop()
    theirs = [text for text in _documents(layout) if _kind(text) in _IN_THE_WAY]
    kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin="\n---\n".join(theirs))


def _process(layout: Layout) -> Component:
    return component(layout, "kueue")


def _left(layout: Layout, kind: str) -> str:
    return administrator(layout)("get", f"{kind}.kueue.x-k8s.io", "--all-namespaces", "-o", "name")


def _answers(layout: Layout) -> bool:
    """Its webhook takes a queue, and the API server knows of its own one."""
    kubectl = administrator(layout)
    flavor = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ResourceFlavor", "metadata": {"name": "probe"}}
    kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(flavor))
    available = '{.status.conditions[?(@.type=="Available")].status}'
    return kubectl("get", "apiservice", "v1beta2.visibility.kueue.x-k8s.io", "-o", f"jsonpath={available}") == "True"


def _documents(layout: Layout) -> Iterator[str]:
    yield from (KUEUE.folder(layout) / MANIFESTS).read_text().split("\n---\n")


def _kind(document: str) -> str:
    lines = (line for line in document.splitlines() if line.startswith("kind: "))
    return next(lines).removeprefix("kind: ")


def _for_host(document: str) -> str | None:
    """A manifest as it is applied here; the CRDs, 1.6 MB, are not parsed."""
    kind = _kind(document)
    if kind == "Deployment":
        return None
    if kind == "Service":
        service = yaml.safe_load(document)
        del service["spec"]["selector"]
        return json.dumps(service)
    if kind.endswith("WebhookConfiguration"):
        configuration = yaml.safe_load(document)
        configuration["webhooks"] = [one for one in configuration["webhooks"] if _concerns_us(one)]
        return json.dumps(configuration)
    return document


def _concerns_us(webhook: Manifest) -> bool:
    groups = {group for rule in webhook["rules"] for group in rule["apiGroups"]}
    resources = {resource for rule in webhook["rules"] for resource in rule["resources"]}
    return groups <= {_OURS[0]} or (groups <= {_OURS[1]} and "pytorchjobs" in resources)


def _endpoint(service: str) -> Manifest:
    name, port = _PORTS[service]
    labels = {"kubernetes.io/service-name": service}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-host", "namespace": NAMESPACE, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": name, "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [HOST], "conditions": {"ready": True}}],
    }


def _configuration(layout: Layout, certificates: Path) -> Path:
    """Upstream's, with our integration, our ports, and nobody to elect a leader among."""
    found = next(text for text in _documents(layout) if _kind(text) == "ConfigMap")
    configuration = yaml.safe_load(yaml.safe_load(found)["data"]["controller_manager_config.yaml"])
    configuration["integrations"]["frameworks"] = list(_FRAMEWORKS)
    configuration["leaderElection"]["leaderElect"] = False
    configuration["webhook"] = {"port": _WEBHOOKS, "certDir": str(certificates)}
    configuration["metrics"]["bindAddress"] = "0"
    configuration["health"]["healthProbeBindAddress"] = "127.0.0.1:18084"
    configuration["visibilityServer"] = {"bindPort": _VISIBILITY}
    file = layout.data / "kueue.yaml"
    file.write_text(yaml.safe_dump(configuration))
    return file
