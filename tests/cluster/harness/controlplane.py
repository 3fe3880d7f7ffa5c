"""etcd, API server, controller manager, scheduler and DNS, as processes of the host."""

from __future__ import annotations

import json
import ssl
import urllib.request
from pathlib import Path

from .kubectl import administrator
from .layout import API_PORT, ETCD_PORT, HOST, SERVICES, Layout
from .process import Component
from .waiting import until

_COREFILE = """.:53 {{
  bind {host}
  errors
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {kubeconfig} finetune
    ttl 1
  }}
  cache 1 {{
    disable denial
  }}
}}
"""
# No forwarding: pods have no way out of the machine. No negative cache: workers would wait for the master's name.

_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system", "system:serviceaccounts:kubeflow"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}
"""What our operator asks for, by whichever account; the cluster's own controllers would fill the disk."""


def component(layout: Layout, name: str) -> Component:
    """A process of the control plane."""
    return Component(name=name, log=layout.logs / f"{name}.log")


def start(layout: Layout) -> None:
    """Start all, and return when the API server serves and namespaces get their service accounts."""
    _start_etcd(layout)
    _start_apiserver(layout)
    _start_controllers(layout)
    kubectl = administrator(layout)
    manager = component(layout, "kube-controller-manager")
    account = ("get", "serviceaccount", "default", "-o", "name")
    until("the default service account", lambda: kubectl(*account), alive=manager.alive, log=manager.log)


def _start_etcd(layout: Layout) -> None:
    client, peer = f"http://127.0.0.1:{ETCD_PORT}", f"http://127.0.0.1:{ETCD_PORT + 1}"
    component(layout, "etcd").start(
        [
            layout.bin / "etcd",
            "--name=finetune",
            f"--data-dir={layout.data / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=finetune={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
            "--auto-compaction-mode=periodic",
            "--auto-compaction-retention=5m",
        ]
    )


def _start_apiserver(layout: Layout) -> None:
    server = component(layout, "kube-apiserver")
    pki = layout.pki
    policy = layout.data / "audit-policy.json"
    policy.write_text(json.dumps(_AUDIT))
    server.start(
        [
            layout.bin / "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{ETCD_PORT}",
            f"--secure-port={API_PORT}",
            "--bind-address=0.0.0.0",
            f"--advertise-address={HOST}",
            f"--tls-cert-file={pki / 'apiserver.crt'}",
            f"--tls-private-key-file={pki / 'apiserver.key'}",
            f"--client-ca-file={pki / 'ca.crt'}",
            f"--service-account-key-file={pki / 'sa.pub'}",
            f"--service-account-signing-key-file={pki / 'sa.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=Node,RBAC",
            # pods that ask for GPUs tolerate the taint of GPU nodes, as in many clusters
            "--enable-admission-plugins=NodeRestriction,ExtendedResourceToleration",
            f"--service-cluster-ip-range={SERVICES}",
            "--allow-privileged=true",
            f"--kubelet-client-certificate={pki / 'admin.crt'}",
            f"--kubelet-client-key={pki / 'admin.key'}",
            "--kubelet-preferred-address-types=InternalIP",
            "--enable-aggregator-routing=true",  # webhooks are dialled at their pod: the host has no kube-proxy
            f"--audit-policy-file={policy}",
            f"--audit-log-path={layout.audit}",
            "--audit-log-mode=batch",  # nobody waits for the disk
            "--audit-log-batch-max-wait=1s",
            # for Kueue's own API server: who asks is told in headers, under the aggregator's certificate
            f"--requestheader-client-ca-file={pki / 'ca.crt'}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={pki / 'front-proxy.crt'}",
            f"--proxy-client-key-file={pki / 'front-proxy.key'}",
            "--profiling=false",
            "--default-not-ready-toleration-seconds=5",
            "--default-unreachable-toleration-seconds=5",
        ]
    )
    until("the API server", lambda: _ready(pki), alive=server.alive, log=server.log)


def _ready(pki: Path) -> bool:
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    with urllib.request.urlopen(f"https://127.0.0.1:{API_PORT}/readyz", context=context, timeout=5) as answer:
        return bool(answer.read() == b"ok")


def _start_controllers(layout: Layout) -> None:
    pki = layout.pki
    rates = ["--kube-api-qps=500", "--kube-api-burst=1000"]
    common = ["--bind-address=127.0.0.1", "--leader-elect=false", "--profiling=false", *rates]
    component(layout, "kube-controller-manager").start(
        [
            layout.bin / "kube-controller-manager",
            *common,
            f"--kubeconfig={pki / 'controller-manager.kubeconfig'}",
            "--secure-port=12257",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={pki / 'sa.key'}",
            f"--root-ca-file={pki / 'ca.crt'}",
            f"--cluster-signing-cert-file={pki / 'ca.crt'}",
            f"--cluster-signing-key-file={pki / 'ca.key'}",
            "--node-monitor-period=1s",
            "--node-monitor-grace-period=10s",
        ]
    )
    component(layout, "kube-scheduler").start(
        [layout.bin / "kube-scheduler", *common, f"--kubeconfig={pki / 'scheduler.kubeconfig'}", "--secure-port=12259"]
    )


def start_dns(layout: Layout) -> None:
    """Start CoreDNS on the host's address, with the rights that it needs."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "finetune:coredns"}
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    header = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "finetune:coredns"}}
    subject = {"kind": "User", "name": "finetune:coredns", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"kind": "ClusterRoleBinding", "roleRef": role, "subjects": [subject]}
    manifests = [header | {"kind": "ClusterRole", "rules": rules}, header | binding]
    administrator(layout).apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))
    corefile = layout.data / "Corefile"
    corefile.write_text(_COREFILE.format(host=HOST, kubeconfig=layout.pki / "coredns.kubeconfig"))
    component(layout, "coredns").start([layout.bin / "coredns", "-conf", corefile])
