"""Pure: what people read about the network."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_trainer.network.links import Findings

_INTERFACES = "which interface NCCL_SOCKET_IFNAME, GLOO_SOCKET_IFNAME or NCCL_IB_HCA names there"


def working(found: Findings, hosts: Sequence[str], together: float) -> list[str]:
    """Of a network that works.

    Args:
        found: of its links.
        hosts: by node.
        together: bytes a second of a sum over all ranks.
    """
    low, high = min(found.bandwidth), max(found.bandwidth)
    between = _speed(high) if _speed(low) == _speed(high) else f"{_speed(low)} to {_speed(high)}"
    lines = [f"network: {len(hosts)} nodes, {between} between neighbours, {_speed(together)} in a sum over all ranks"]
    lines += [
        f"network: {hosts[node]} is slow, {_speed(found.bandwidth[node])} where the best node has {_speed(high)}; "
        f"every step waits for it: look at its network card and cable, and {_INTERFACES}"
        for node in found.slow
    ]
    return lines


def deaf(found: Findings, hosts: Sequence[str]) -> str:
    """Of nodes that nothing reaches."""
    if found.deaf and len(hosts) > 2:
        what = f"nothing reaches {', '.join(hosts[node] for node in found.deaf)} from its neighbours"
    elif found.deaf:
        what = f"nothing comes through between {hosts[0]} and {hosts[1]}"
    else:
        pairs = ", ".join(f"{hosts[link.first]} and {hosts[link.second]}" for link in found.broken)
        what = f"nothing comes through between {pairs}, though both reach others"
    return f"{what}, although all ranks met: look at firewalls and network policies between them, and {_INTERFACES}"


def sum_alone_fails(hosts: Sequence[str], ranks: int, seconds: float) -> str:
    """Of a network whose links work one by one."""
    return (
        f"neighbours among {', '.join(hosts)} reach each other, but a sum over all {ranks} ranks did not end in "
        f"{seconds:.0f} s: see NCCL_DEBUG=INFO, and whether a firewall lets some ports by only"
    )


def _speed(value: float) -> str:
    return f"{value / 1e9:.1f} GB/s" if value >= 1e8 else f"{value / 1e6:.1f} MB/s"
