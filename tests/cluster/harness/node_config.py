"""A node's configuration files, as values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .images import PAUSE_IMAGE
from .layout import CGROUP, HOST, PODS, Layout, Node
from .machine import cni_plugins
from .process import program

_UNUSED_SNAPSHOTTERS = [f"io.containerd.snapshotter.v1.{name}" for name in ("btrfs", "zfs", "devmapper", "aufs")]
_DISK_SIGNALS = ("nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree")
_CONTAINERD = """version = 2
root = "{root}"
state = "{state}"
disabled_plugins = {disabled}
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  netns_mounts_under_state_dir = true
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{cni_config}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{runc}"
        SystemdCgroup = false
        Root = "{state}/runc"
"""
# restrict_oom_score_adj: pods ask for a score below our own, which takes CAP_SYS_RESOURCE


def containerd(layout: Layout, node: Node) -> str:
    """containerd's configuration (1.6 and 1.7)."""
    return _CONTAINERD.format(
        root=layout.node_data(node) / "containerd",
        state=layout.node_run(node) / "containerd",
        disabled=[*_UNUSED_SNAPSHOTTERS, "io.containerd.internal.v1.opt"],
        socket=layout.containerd_socket(node),
        pause=PAUSE_IMAGE,
        cni=cni_plugins(),
        cni_config=layout.node_data(node) / "cni",
        runc=program("runc"),
    )


def cni(layout: Layout, node: Node) -> dict[str, Any]:
    """The pods' network: a bridge in the node's namespace."""
    addresses = {
        "type": "host-local",
        "dataDir": str(layout.node_run(node) / "ipam"),
        "ranges": [[{"subnet": node.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True}
    return {"cniVersion": "1.0.0", "name": "finetune", "plugins": [bridge | {"ipam": addresses}]}


def kubelet(layout: Layout, node: Node, resolv_conf: Path) -> dict[str, Any]:
    """The kubelet's configuration: quick reports, no eviction, no collection of images."""
    return {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}/{node.name}",
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket(node)}",
        "clusterDNS": [HOST],
        "clusterDomain": "cluster.local",
        "resolvConf": str(resolv_conf),
        "podLogsDir": str(layout.logs / f"{node.name}-pods"),
        "address": node.address,
        "port": 10250,
        "healthzPort": 0,
        "readOnlyPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(layout.pki / f"{node.name}.crt"),
        "tlsPrivateKeyFile": str(layout.pki / f"{node.name}.key"),
        "evictionHard": {"memory.available": "1", **dict.fromkeys(_DISK_SIGNALS, "0%")},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "imageMinimumGCAge": "24h",
        "nodeStatusUpdateFrequency": "2s",
        "nodeStatusReportFrequency": "2s",
        "nodeLeaseDurationSeconds": 8,
        "syncFrequency": "2s",  # how soon a changed Secret reaches a mounted volume
        "volumeStatsAggPeriod": "0s",
        "serializeImagePulls": False,
        "crashLoopBackOff": {"maxContainerRestartPeriod": "10s"},
    }


def kube_proxy(layout: Layout, node: Node) -> dict[str, Any]:
    """kube-proxy's configuration: one nftables table, which goes with the namespace; conntrack stays as it is."""
    return {
        "kind": "KubeProxyConfiguration",
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "mode": "nftables",
        "hostnameOverride": node.name,
        "clientConnection": {"kubeconfig": str(layout.pki / "kube-proxy.kubeconfig")},
        "clusterCIDR": PODS,
        "bindAddress": "0.0.0.0",
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpCloseWaitTimeout": "0s", "tcpEstablishedTimeout": "0s"},
    }
