"""The whole cluster: up, down, and what is left over."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from . import binaries, controlplane, images, machine, network, node, pki, state, training_operator
from .kubectl import Kubectl, administrator
from .layout import CGROUP, CHECKOUT, Layout, Node
from .process import TREE, hierarchies, kill, remove_cgroups
from .state import State
from .waiting import ClusterError

Say = Callable[[str], None]
MANIFESTS = ("crds/finetunejobs.yaml", "deploy/operator/namespace.yaml", "deploy/operator/rbac.yaml")
"""Ours, applied where they exist."""


def build(layout: Layout, say: Say) -> None:
    """Install and build what the cluster needs.

    Raises:
        ClusterError: something can't be had; the message says what to install.
    """
    if packages := machine.missing_packages():
        say(f"installing {' '.join(packages)}")
        machine.install(packages, layout.state / "apt.log")
    binaries.ensure(layout, say)


def up(layout: Layout, *, nodes: int, kept: bool, say: Say) -> None:
    """Bring a cluster up, after removing what another run left.

    Raises:
        ClusterError: the machine can't hold it, or a part did not start.
    """
    if reason := machine.missing_rights():
        raise ClusterError(reason)
    build(layout, say)
    with state.changing(layout):
        if state.in_use(layout):
            raise ClusterError("a test session uses the cluster: wait for its end, or take it down first")
        create(layout, nodes=nodes, kept=kept, say=say)


def down(layout: Layout, say: Say) -> None:
    """Take the cluster down and put the machine back as it was; the logs stay."""
    start = time.monotonic()
    with state.changing(layout):
        remove(layout)
    say(f"down in {time.monotonic() - start:.1f} s; logs in {layout.logs}")


def install(kubectl: Kubectl) -> None:
    """Apply our CRD, namespace and rights, as the checkout has them now."""
    for manifest in filter(Path.exists, (CHECKOUT / name for name in MANIFESTS)):
        kubectl.apply(manifest.read_text())


def _timed(say: Say) -> Say:
    start = time.monotonic()
    return lambda text: say(f"{time.monotonic() - start:6.1f} s  {text}")


def create(layout: Layout, *, nodes: int, kept: bool, say: Say) -> None:
    """What `up` does, for one who holds the lock and has built."""
    say = _timed(say)
    remove(layout)
    _keep_previous_logs(layout)
    wanted = State(nodes=nodes, kept=kept, sysctls=state.sysctls(), new_folders=state.missing_folders())
    state.save(layout, wanted)
    for folder in (layout.data, layout.logs, layout.run, layout.shared):
        folder.mkdir(parents=True, exist_ok=True)
    members = wanted.members()
    binaries.link(layout)
    pki.create(layout, members)
    network.create_bridge()
    for member in members:
        network.create_node(member, [other for other in members if other != member])
    say("certificates and network")
    with ThreadPoolExecutor() as pool:
        prepared = pool.submit(_prepare_nodes, layout, members, say)
        _start_control_plane(layout, members, say)
        prepared.result()
        list(pool.map(lambda member: node.start(layout, member), members))
    if members:
        say("nodes ready")
        training_operator.wait_available(layout)
        say("training operator available")
    state.save(layout, replace(wanted, complete=True))
    say(f"up with {len(members)} nodes; KUBECONFIG={layout.kubeconfig}")


def _prepare_nodes(layout: Layout, members: list[Node], say: Say) -> None:
    if not members:
        return
    archive = layout.data / "images.tar"
    images.archive(layout, archive)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda member: node.prepare(layout, member, archive), members))
    say("nodes hold their images")


def _start_control_plane(layout: Layout, members: list[Node], say: Say) -> None:
    controlplane.start(layout)
    say("control plane")
    if members:
        controlplane.start_dns(layout)
        training_operator.deploy(layout)
    else:
        training_operator.run_on_host(layout)
    install(administrator(layout))
    say("manifests applied")


def _keep_previous_logs(layout: Layout) -> None:
    previous = layout.logs.with_name("logs.previous")
    if layout.logs.exists():
        shutil.rmtree(previous, ignore_errors=True)
        layout.logs.rename(previous)


def remove(layout: Layout) -> None:
    """What `down` does, for one who holds the lock; from any state, also a half-made one and none."""
    known = state.load(layout)
    kill(TREE)
    members = known.members() if known else []
    for member in members:
        node.remove_traces(layout, member)
    for base in hierarchies():
        remove_cgroups(base / CGROUP)
    network.remove(members)
    shutil.rmtree(layout.run, ignore_errors=True)
    for folder in (layout.data, layout.pki, layout.bin, layout.shared):
        if folder.exists():
            shutil.rmtree(folder)
    layout.kubeconfig.unlink(missing_ok=True)
    if known:
        state.restore(known.sysctls)
        for new in known.new_folders:
            shutil.rmtree(new, ignore_errors=True)
        (layout.state / "state.json").unlink()


def kill_node(layout: Layout, name: str) -> None:
    """Cut a node's power: kubelet, containerd and all its pods end at once."""
    node.cut_power(_member(layout, name))


def start_node(layout: Layout, name: str) -> None:
    """Switch a node on again, and return when it's ready."""
    member = _member(layout, name)
    node.create_cgroups(member)
    node.start_containerd(layout, member)
    node.start(layout, member)


def stop_kubelet(layout: Layout, name: str) -> None:
    """End a node's kubelet; its pods run on, and the node is soon NotReady."""
    node.stop_kubelet(layout, _member(layout, name))


def start_kubelet(layout: Layout, name: str) -> None:
    """Start a node's kubelet again, and return when the node is ready."""
    node.start_kubelet(layout, _member(layout, name))


def _member(layout: Layout, name: str) -> Node:
    known = state.load(layout)
    for member in known.members() if known else ():
        if member.name == name:
            return member
    raise ClusterError(f"the cluster has no node {name!r}")
