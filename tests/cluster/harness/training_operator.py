"""The Kubeflow training operator: as upstream deploys it, or as a process of the host when there are no nodes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import yaml

from .binaries import MANIFESTS, TRAINING_OPERATOR
from .controlplane import component
from .kubectl import administrator
from .layout import HOST, Layout
from .waiting import until

NAMESPACE = "kubeflow"
_SECRET = "training-operator-webhook-cert"
_CERTIFICATES = "/tmp/k8s-webhook-server/serving-certs"
"""Fixed in the operator."""
_KEYS = ("ca.crt", "tls.crt", "tls.key")


def deploy(layout: Layout) -> None:
    """Apply upstream's manifests; only the readiness probe is quicker (15 to 30 s otherwise)."""
    text = _manifests(layout).replace("initialDelaySeconds: 10\n", "initialDelaySeconds: 1\n")
    administrator(layout).apply(text.replace("periodSeconds: 15\n", "periodSeconds: 1\n"))


def wait_available(layout: Layout) -> None:
    """Return when its Deployment is available, the webhook with it."""
    available = ("wait", "--for=condition=Available", "deployment/training-operator", "--timeout=180s")
    administrator(layout)("-n", NAMESPACE, *available)


def run_on_host(layout: Layout) -> None:
    """Start it as a process, its webhook in place: the Service gets an endpoint on the host instead of a pod."""
    documents = filter(None, map(_for_host, _manifests(layout).split("\n---\n")))
    administrator(layout).apply("\n---\n".join([*documents, json.dumps(_endpoint())]))
    certificates = layout.data / "webhook-certificates"
    certificates.mkdir(parents=True, exist_ok=True)
    operator = component(layout, "training-operator")
    # Its certificates' path is fixed: a mount namespace of its own keeps it apart from others on this machine.
    script = f'mkdir -p {_CERTIFICATES} && mount --bind "$0" {_CERTIFICATES} && exec "$@"'
    arguments = ["--metrics-bind-address=127.0.0.1:18080", "--health-probe-bind-address=127.0.0.1:18081"]
    operator.start(
        ["unshare", "--mount", "sh", "-c", script, certificates, layout.bin / "training-operator", *arguments],
        environment={"KUBECONFIG": str(layout.kubeconfig)},
    )
    secret = (NAMESPACE, _SECRET, certificates)
    until(
        "the webhook's certificates",
        lambda: copy_certificates(layout, *secret),
        alive=operator.alive,
        log=operator.log,
    )
    until(
        "the training operator",
        lambda: "Serving webhook server" in operator.log.read_text(),
        alive=operator.alive,
        log=operator.log,
    )


def _manifests(layout: Layout) -> str:
    return (TRAINING_OPERATOR.folder(layout) / MANIFESTS).read_text()


def _for_host(document: str) -> str | None:
    """Without the Deployment, and without the Service's selector; the CRDs, 3 MB, are not parsed."""
    if "\nkind: Deployment\n" in document:
        return None
    if "\nkind: Service\n" not in document:
        return document
    service = yaml.safe_load(document)
    del service["spec"]["selector"]
    return json.dumps(service)


def _endpoint() -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": "training-operator"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "training-operator-host", "namespace": NAMESPACE, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "webhook-server", "port": 9443, "protocol": "TCP"}],
        "endpoints": [{"addresses": [HOST], "conditions": {"ready": True}}],
    }


def copy_certificates(layout: Layout, namespace: str, name: str, folder: Path) -> bool:
    """What a kubelet does: bring a Secret, which its program fills, to the files that it waits for."""
    secret = json.loads(administrator(layout)("-n", namespace, "get", "secret", name, "-o", "json"))
    data = secret.get("data") or {}
    if not all(data.get(key) for key in _KEYS):
        return False
    for key in _KEYS:
        draft = folder / f".{key}"
        draft.write_bytes(base64.b64decode(data[key]))
        draft.rename(folder / key)
    return True
