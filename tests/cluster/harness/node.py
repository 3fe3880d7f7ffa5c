"""Starting, cutting off and removing a node."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

from . import node_config
from .kubectl import administrator
from .layout import CGROUP, GPUS, Layout, Node
from .process import TREE, Component, command, hierarchies, kill, remove_cgroups
from .waiting import until

_CONTAINER_LINKS = Path("/var/log/containers")
"""The kubelet's links to the pods' logs: a fixed path."""


def component(layout: Layout, node: Node, name: str) -> Component:
    """A process of a node."""
    return Component(name=name, node=node.name, log=layout.logs / f"{node.name}-{name}.log")


def prepare(layout: Layout, node: Node, images: Path) -> None:
    """Write the configuration, start containerd and import the images; needs no API server."""
    data = layout.node_data(node)
    for folder in (data / "cni", data / "kubelet", layout.node_run(node)):
        folder.mkdir(parents=True, exist_ok=True)
    (data / "containerd.toml").write_text(node_config.containerd(layout, node))
    (data / "cni/10-finetune.conflist").write_text(json.dumps(node_config.cni(layout, node), indent=1))
    (data / "resolv.conf").write_text("")
    (data / "kubelet.json").write_text(json.dumps(node_config.kubelet(layout, node, data / "resolv.conf"), indent=1))
    (data / "kube-proxy.json").write_text(json.dumps(node_config.kube_proxy(layout, node), indent=1))
    create_cgroups(node)
    start_containerd(layout, node)
    command("ctr", "-a", layout.containerd_socket(node), "-n", "k8s.io", "images", "import", images)


def create_cgroups(node: Node) -> None:
    """The root of the node's pods in every hierarchy."""
    for base in hierarchies():
        for folder in (base / CGROUP, base / CGROUP / node.name):
            folder.mkdir(exist_ok=True)
            if (folder / "cpuset.cpus").exists():  # version 1 leaves these empty, and no task can enter
                for setting in ("cpuset.cpus", "cpuset.mems"):
                    (folder / setting).write_text((folder.parent / setting).read_text())


def start_containerd(layout: Layout, node: Node) -> None:
    """Start containerd in the node's namespace and wait for its socket."""
    runtime = component(layout, node, "containerd")
    runtime.start(["containerd", "--config", layout.node_data(node) / "containerd.toml"], netns=node.netns)
    socket_path = layout.containerd_socket(node)
    until(f"containerd of {node.name}", lambda: _answers(socket_path), alive=runtime.alive, log=runtime.log)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    return True


def start(layout: Layout, node: Node) -> None:
    """Start kubelet and kube-proxy, and return when the node is ready and advertises its GPUs."""
    data = layout.node_data(node)
    proxy: list[str | Path] = [layout.bin / "kube-proxy", f"--config={data / 'kube-proxy.json'}", "--v=2"]
    component(layout, node, "kube-proxy").start(proxy, netns=node.netns)
    start_kubelet(layout, node)


def start_kubelet(layout: Layout, node: Node) -> None:
    """Start the kubelet alone, if it does not run, and return when the node is ready and advertises its GPUs."""
    if component(layout, node, "kubelet").alive():
        return
    data = layout.node_data(node)
    component(layout, node, "kubelet").start(
        [
            layout.bin / "kubelet",
            f"--config={data / 'kubelet.json'}",
            f"--kubeconfig={layout.pki / f'{node.name}.kubeconfig'}",
            f"--hostname-override={node.name}",
            f"--node-ip={node.address}",
            f"--root-dir={data / 'kubelet'}",
            f"--cert-dir={data / 'kubelet/pki'}",
            "--v=2",
        ],
        netns=node.netns,
    )
    _wait_ready(layout, node)


def _wait_ready(layout: Layout, node: Node) -> None:
    kubectl = administrator(layout)
    agent = component(layout, node, "kubelet")
    known = ("get", "node", node.name, "-o", "name")
    until(f"the Node {node.name}", lambda: kubectl(*known), alive=agent.alive, log=agent.log)
    kubectl("wait", "--for=condition=Ready", f"node/{node.name}", "--timeout=120s")
    advertised = {"nvidia.com/gpu": str(GPUS)}
    patch = json.dumps({"status": {"capacity": advertised, "allocatable": advertised}})
    kubectl("patch", "node", node.name, "--subresource=status", "--type=merge", "-p", patch)


def stop_kubelet(layout: Layout, node: Node) -> None:
    """End the kubelet alone: the node's pods run on, and nobody hears of them."""
    component(layout, node, "kubelet").stop()


def cut_power(node: Node) -> None:
    """End everything of a node at once, pods too; its disk and cable stay."""
    kill(TREE / node.name)


def remove_traces(layout: Layout, node: Node) -> None:
    """Remove the mounts, cgroups and files of a node whose processes have ended."""
    for mount in reversed(mounts(layout, node)):
        subprocess.run(["umount", "--lazy", mount], capture_output=True, check=False)
    for base in hierarchies():
        remove_cgroups(base / CGROUP / node.name)
    shutil.rmtree(layout.node_run(node), ignore_errors=True)
    for path in _CONTAINER_LINKS.glob("*") if _CONTAINER_LINKS.exists() else ():
        if path.is_symlink() and str(path.readlink()).startswith(str(layout.state)):
            path.unlink()


def mounts(layout: Layout, node: Node) -> list[str]:
    """The mount points below a node's folders."""
    points = [line.split()[1].replace("\\040", " ") for line in Path("/proc/mounts").read_text().splitlines()]
    folders = tuple(f"{folder}{os.sep}" for folder in (layout.node_data(node), layout.node_run(node)))
    return [point for point in points if point.startswith(folders)]
