"""Bytes sent from node to node, and summed over all ranks, against a clock."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from threading import Thread

import torch
from torch import distributed

from finetune_trainer.distributed import World
from finetune_trainer.failures import RunError
from finetune_trainer.network import words
from finetune_trainer.network.links import Findings, Link, findings, rounds

_BYTES = {"cuda": 1 << 27, "cpu": 1 << 24}
"""Of one message, by kind of device: a bucket of gradients."""
_TIMES = 3
SECONDS = 60.0
"""For one exchange, connection and all; a sound one takes a hundredth."""
_PATIENCE = 1.1
"""Times as long for an exchange to say by itself that its time is over; gloo does, NCCL does not."""


class NetworkDeaf(RunError):
    """Nodes that met over the master's address do not reach each other where gradients go."""

    reason = "NetworkDeaf"
    retryable = True
    leaves_threads = True


def probe(
    world: World, host: str, *, ranks_of_node: int, say: Callable[[str], None], seconds: float = SECONDS
) -> Findings | None:
    """Try every link of a ring of nodes, then a sum over all ranks; all ranks must call. Says a line, on rank 0 more
    where a node is slow.

    Args:
        world: all ranks.
        host: this machine's name.
        ranks_of_node: ranks of one node follow each other.
        say: for people; the first rank is heard.
        seconds: for one exchange.

    Returns:
        None with one node.

    Raises:
        NetworkDeaf: on every rank alike, with the nodes that nothing reaches.
    """
    nodes = world.size // ranks_of_node
    if nodes < 2:
        return None
    hosts = world.gather(host)[::ranks_of_node]
    found = _try_links(world, nodes, ranks_of_node=ranks_of_node, seconds=seconds)
    if found.deaf or found.broken:
        raise NetworkDeaf(words.deaf(found, hosts))
    together = _in_time(functools.partial(_sum, world.size), seconds)
    if world.any(together is None):
        raise NetworkDeaf(words.sum_alone_fails(hosts, world.size, seconds))
    assert together is not None
    for line in words.working(found, hosts, together):
        say(line)
    return found


def _try_links(world: World, nodes: int, *, ranks_of_node: int, seconds: float) -> Findings:
    """The first rank of each node speaks for it; all learn what it found."""
    node, local_rank = divmod(world.rank, ranks_of_node)
    measured: dict[Link, float | None] = {}
    turns = rounds(nodes)
    groups = [distributed.new_group() for _ in turns]  # gloo gives up all connections of a group with the first
    for links, group in zip(turns, groups, strict=True):
        mine = next((link for link in links if node in link), None) if local_rank == 0 else None
        told = None
        if mine is not None:
            told = (mine, _in_time(functools.partial(_exchange, mine, node, ranks_of_node, group), seconds))
        for link, speed in filter(None, world.gather(told)):
            before = measured.get(link, speed)
            measured[link] = None if speed is None or before is None else min(speed, before)
    found = findings(nodes, measured)
    if not (found.deaf or found.broken):  # else a connection may still be waited for, and the run ends anyway
        for group in groups:
            distributed.destroy_process_group(group)
    return found


def _exchange(
    link: Link, node: int, ranks_of_node: int, group: distributed.ProcessGroup | None, clock: Clock
) -> float:
    """Bytes a second, there and back, a few times; the first of them makes the connection."""
    sends_first = node == link.first
    peer = (link.second if sends_first else link.first) * ranks_of_node
    data = torch.zeros(_BYTES[clock.device.type], dtype=torch.uint8, device=clock.device)
    turns = (distributed.isend, distributed.irecv) if sends_first else (distributed.irecv, distributed.isend)

    def once() -> None:
        for turn in turns:
            clock.wait(turn(data, peer, group))

    return 2 * _TIMES * data.numel() / _timed(once, clock)


def _sum(ranks: int, clock: Clock) -> float:
    """Bytes a second over a rank's line, as nccl-tests counts them: 2 (n - 1) / n of the data pass by."""
    data = torch.zeros(_BYTES[clock.device.type] // 4, dtype=torch.float32, device=clock.device)
    seconds = _timed(lambda: clock.wait(distributed.all_reduce(data, async_op=True)), clock)
    return _TIMES * data.nbytes * 2 * (ranks - 1) / ranks / seconds


def _timed(once: Callable[[], object], clock: Clock) -> float:
    """Seconds of `_TIMES` times, after one that does not count."""
    once()
    clock.settle()
    began = time.perf_counter()
    for _ in range(_TIMES):
        once()
    clock.settle()
    return time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class Clock:
    """Waits for what was begun on a device, until a moment."""

    device: torch.device
    until: float
    """Of the monotonic clock."""

    def wait(self, work: distributed.Work | None) -> None:
        """For one message. Raises RuntimeError: its time is over, or the other side is gone."""
        if work is not None:
            work.wait(timedelta(seconds=max(0.001, self.until - time.monotonic())))

    def settle(self) -> None:
        """For all that the device was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _in_time(measure: Callable[[Clock], float], seconds: float) -> float | None:
    """What it returns; None where it fails, or takes too long: making a connection to a deaf node may never return."""
    found: list[float] = []
    on_gpu = distributed.get_backend() == "nccl"
    device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
    clock = Clock(device, time.monotonic() + seconds)

    def run() -> None:
        if on_gpu:
            torch.cuda.set_device(device)  # each thread has a device of its own
        with contextlib.suppress(RuntimeError):  # the other side went away: as good as deaf
            found.append(measure(clock))

    thread = Thread(target=run, name="network-probe", daemon=True)
    thread.start()
    thread.join(seconds * _PATIENCE)
    return found[0] if found else None
