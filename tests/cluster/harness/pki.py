"""One certificate authority and the parts' certificates and kubeconfigs, made anew by each `up`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .layout import API_PORT, HOST, Layout, Node
from .process import command

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
_DAYS = ("-days", "3650")


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Who a certificate speaks for, and where it may serve."""

    name: str
    user: str
    group: str | None = None
    names: tuple[str, ...] = ()
    """Subject alternative names, as openssl writes them."""


SERVER = Identity(
    name="apiserver",
    user="kube-apiserver",
    names=(
        *(f"DNS:{name}" for name in ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")),
        *(f"IP:{address}" for address in ("127.0.0.1", HOST, "10.96.0.1")),
    ),
)
ADMIN = Identity(name="admin", user="admin", group="system:masters")
CONTROLLER_MANAGER = Identity(name="controller-manager", user="system:kube-controller-manager")
SCHEDULER = Identity(name="scheduler", user="system:kube-scheduler")
PROXY = Identity(name="kube-proxy", user="system:kube-proxy")
AGGREGATOR = Identity(name="front-proxy", user="front-proxy-client")
"""The API server, where it passes a request on to Kueue's own."""
DNS = Identity(name="coredns", user="finetune:coredns")


def kubelet(node: Node) -> Identity:
    """A node's kubelet: a client of the API server, and a server for it."""
    names = (f"DNS:{node.name}", f"IP:{node.address}")
    return Identity(name=node.name, user=f"system:node:{node.name}", group="system:nodes", names=names)


def create(layout: Layout, nodes: Iterable[Node]) -> None:
    """Make the authority, the service accounts' key, and a certificate and kubeconfig for every part."""
    layout.pki.mkdir(parents=True, exist_ok=True)
    layout.pki.chmod(0o700)
    key, certificate = layout.pki / "ca.key", layout.pki / "ca.crt"
    subject = ("-subj", "/CN=finetune-test-cluster")
    command("openssl", "req", "-x509", *_KEY, *_DAYS, *subject, "-keyout", key, "-out", certificate)
    command("openssl", "genrsa", "-out", layout.pki / "sa.key", "2048")
    command("openssl", "rsa", "-in", layout.pki / "sa.key", "-pubout", "-out", layout.pki / "sa.pub")
    parts = [SERVER, ADMIN, CONTROLLER_MANAGER, SCHEDULER, PROXY, AGGREGATOR, DNS, *map(kubelet, nodes)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda part: issue(layout, part), parts))
    for part in parts:
        _write_private(layout.pki / f"{part.name}.kubeconfig", json.dumps(_client(layout, part), indent=1))
    _write_private(layout.kubeconfig, (layout.pki / "admin.kubeconfig").read_text())


def issue(layout: Layout, part: Identity) -> None:
    """<name>.key and <name>.crt in the folder of certificates, signed by the cluster's authority."""
    path = layout.pki / part.name
    subject = (f"/O={part.group}" if part.group else "") + f"/CN={part.user}"
    names = f"subjectAltName={','.join(part.names)}\n" if part.names else ""
    path.with_suffix(".ext").write_text(f"extendedKeyUsage=clientAuth,serverAuth\n{names}")
    command("openssl", "req", "-new", *_KEY, "-subj", subject, "-keyout", f"{path}.key", "-out", f"{path}.csr")
    authority = ("-CA", layout.pki / "ca.crt", "-CAkey", layout.pki / "ca.key")
    serial = ("-set_serial", f"0x{part.name.encode().hex()}")
    files = ("-in", f"{path}.csr", "-extfile", f"{path}.ext", "-out", f"{path}.crt")
    command("openssl", "x509", "-req", *_DAYS, *authority, *serial, *files)


def _client(layout: Layout, part: Identity) -> dict[str, Any]:
    files = {"client-certificate-data": f"{part.name}.crt", "client-key-data": f"{part.name}.key"}
    return kubeconfig(layout, {name: _encoded(layout.pki / file) for name, file in files.items()})


def kubeconfig(layout: Layout, user: dict[str, str]) -> dict[str, Any]:
    """A kubeconfig for somebody with these credentials; valid on the host, in the nodes and in pods."""
    server = {"server": f"https://{HOST}:{API_PORT}", "certificate-authority-data": _encoded(layout.pki / "ca.crt")}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "finetune",
        "clusters": [{"name": "finetune", "cluster": server}],
        "users": [{"name": "finetune", "user": user}],
        "contexts": [{"name": "finetune", "context": {"cluster": "finetune", "user": "finetune"}}],
    }


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
