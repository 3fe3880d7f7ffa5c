"""The nodes' network: a bridge on the host, and a namespace with one cable to it per node."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from .layout import BRIDGE, HOST, Node
from .process import command
from .waiting import ClusterError

_NAMESPACES = Path("/run/netns")
_FORWARDING = "net/ipv4/ip_forward"


def create_bridge() -> None:
    """The host's leg. Pods, nodes and the API server reach each other by plain routing."""
    command("ip", "link", "add", BRIDGE, "type", "bridge")
    command("ip", "addr", "add", f"{HOST}/24", "dev", BRIDGE)
    command("ip", "link", "set", BRIDGE, "up")
    Path("/proc/sys", _FORWARDING).write_text("1")


def create_node(node: Node, others: list[Node]) -> None:
    """A namespace with an address, a cable to the bridge and routes to the other nodes' pods."""
    command("ip", "netns", "add", node.netns)
    command("ip", "link", "add", node.link, "type", "veth", "peer", "name", "eth0", "netns", node.netns)
    command("ip", "link", "set", node.link, "master", BRIDGE, "up")
    inside = ("ip", "-n", node.netns)
    command(*inside, "link", "set", "lo", "up")
    command(*inside, "addr", "add", f"{node.address}/24", "dev", "eth0")
    command(*inside, "link", "set", "eth0", "up")
    command(*inside, "route", "add", "default", "via", HOST)
    command("nsenter", f"--net=/run/netns/{node.netns}", "--", "sh", "-c", f"echo 1 > /proc/sys/{_FORWARDING}")
    for other in others:
        command(*inside, "route", "add", other.pods, "via", other.address)
    command("ip", "route", "add", node.pods, "via", node.address)


def remove(nodes: list[Node]) -> None:
    """Remove what is there of the network; routes and cables go with their ends."""
    for node in nodes:
        with suppress(ClusterError):
            command("ip", "netns", "del", node.netns)
        with suppress(ClusterError):
            command("ip", "link", "del", node.link)
    with suppress(ClusterError):
        command("ip", "link", "del", BRIDGE)
    if _NAMESPACES.is_mount() and not any(_NAMESPACES.iterdir()):  # `ip netns add` mounts it
        command("umount", _NAMESPACES)
