"""Where the cluster keeps what, and under which addresses it answers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
CGROUP = "finetune-cluster"
"""Name of our cgroup in every hierarchy."""
BRIDGE = "finetune0"
HOST = "172.30.0.1"
"""The machine as the nodes and pods see it: API server, DNS, webhooks and intakes on the host."""
API_PORT = 16443
ETCD_PORT = 12379
SERVICES = "10.96.0.0/16"
PODS = "10.244.0.0/16"
GPUS = 8
"""How many nvidia.com/gpu each node advertises."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One node: a network namespace with a containerd, a kubelet and a kube-proxy."""

    number: int

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def netns(self) -> str:
        return f"finetune-{self.name}"

    @property
    def link(self) -> str:
        """The host's end of the node's cable (at most 15 characters)."""
        return f"ft-{self.name}"

    @property
    def address(self) -> str:
        return f"172.30.0.{10 + self.number}"

    @property
    def pods(self) -> str:
        """The range of its pods' addresses."""
        return f"10.244.{self.number}.0/24"


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The folders of a cluster."""

    state: Path
    """Written by a run and removed by `down`, except the logs."""
    run: Path
    """Sockets and ctr's state; short, because a socket's path is limited to 107 bytes."""
    cache: Path
    """What is built once: outside the checkout, shared by all checkouts."""

    @property
    def data(self) -> Path:
        return self.state / "data"

    @property
    def bin(self) -> Path:
        """Links to the programs, kubectl among them."""
        return self.state / "bin"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        """Every component's log and the pods' logs; kept by `down`, moved to logs.previous by the next `up`."""
        return self.state / "logs"

    @property
    def audit(self) -> Path:
        """What service accounts asked the API server for; `audit` beside the harness reads it."""
        return self.logs / "audit.log"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def shared(self) -> Path:
        """Folders that tests share with pods on every node."""
        return self.state / "shared"

    def node_data(self, node: Node) -> Path:
        return self.data / node.name

    def node_run(self, node: Node) -> Path:
        return self.run / node.name

    def containerd_socket(self, node: Node) -> Path:
        return self.node_run(node) / "containerd.sock"


def default() -> Layout:
    """The layout of this machine's one test cluster."""
    home = Path.home()
    state = Path(os.environ.get("XDG_STATE_HOME") or home / ".local/state")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return Layout(
        state=state / "finetune-operator/cluster",
        run=Path("/run/finetune-cluster"),
        cache=cache / "finetune-operator",
    )
