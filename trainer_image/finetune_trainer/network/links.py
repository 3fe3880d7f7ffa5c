"""Pure: which nodes try each other when, and what the figures say about each of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

SLOW = 0.5
"""Of the median node: below it a node holds all others back, for every step waits for the slowest."""
_FEWEST = 3
"""Nodes that it takes to say which one is slow: of two, either may be."""


class Link(NamedTuple):
    """Two neighbours, by node rank."""

    first: int
    second: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What the links said."""

    bandwidth: tuple[float, ...]
    """Bytes a second of each node's better link, so that a slow neighbour is not held against it; 0: none works."""
    slow: tuple[int, ...]
    """Nodes far below the others."""
    deaf: tuple[int, ...]
    """Nodes that nothing reaches, though they are up; of two nodes both."""
    broken: tuple[Link, ...]
    """Links that carry nothing between nodes that other links reach."""


def rounds(nodes: int) -> tuple[tuple[Link, ...], ...]:
    """The links of a ring, so that no node has two of them in one round: each is measured with the line to itself."""
    if nodes == 2:
        return ((Link(0, 1),),)
    ring = [Link(node, (node + 1) % nodes) for node in range(nodes)]
    last = ring[-1:] if nodes % 2 else []
    rest = ring[: len(ring) - len(last)]
    found = (tuple(rest[0::2]), tuple(rest[1::2]), tuple(last))
    return tuple(links for links in found if links)


def findings(nodes: int, measured: Mapping[Link, float | None]) -> Findings:
    """What the figures mean.

    Args:
        nodes: 2 or more.
        measured: bytes a second of each link; None: nothing came through in time.
    """
    of_node = [[speed for link, speed in measured.items() if node in link] for node in range(nodes)]
    bandwidth = tuple(max((speed or 0.0 for speed in speeds), default=0.0) for speeds in of_node)
    deaf = tuple(node for node, speed in enumerate(bandwidth) if speed == 0.0)
    silent = [link for link, speed in measured.items() if speed is None]
    return Findings(
        bandwidth=bandwidth,
        slow=_slow(bandwidth),
        deaf=deaf,
        broken=tuple(link for link in silent if not set(link) & set(deaf)),
    )


def _slow(bandwidth: Sequence[float]) -> tuple[int, ...]:
    heard = [speed for speed in bandwidth if speed]
    if len(heard) < _FEWEST:
        return ()
    limit = SLOW * statistics.median(heard)
    return tuple(node for node, speed in enumerate(bandwidth) if 0 < speed < limit)
