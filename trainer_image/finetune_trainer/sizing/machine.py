"""What a training runs on."""

from __future__ import annotations

import re
from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Nodes that are all alike."""

    nodes: int = 1
    processes: int = 1
    """Ranks of each node, one for each GPU."""
    memory: int | None = None
    """Bytes of one GPU; None: unknown, so that nothing is said of what fits."""
    gpu: bool = True
    """False: it trains on the CPU, and `memory` is a rank's share of the node's."""

    @property
    def ranks(self) -> int:
        """Of all nodes."""
        return self.nodes * self.processes


_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(i?)B?")


def bytes_of(text: str) -> int:
    """`80Gi`, `80G`, `80GB` or plain bytes, as Kubernetes writes quantities.

    Raises:
        ValueError: none of these.
    """
    found = _QUANTITY.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected a quantity of memory such as 80Gi, got {text!r}")
    number, prefix, binary = found.groups()
    power = " KMGTP".index(prefix) if prefix else 0
    return int(float(number) * (1024 if binary else 1000) ** power)


CONTEXT = int(1.2 * GIB)
"""Bytes of a GPU that PyTorch never sees: the CUDA context, the libraries' workspaces, NCCL's channels. An assumption:
0.5 GiB for the context of an A100 or H100 with cuBLAS, the rest for NCCL.
"""
FRAGMENTS = 0.04
"""Of all that comes and goes, what lies between blocks of PyTorch's allocator and cannot be used. An assumption."""
