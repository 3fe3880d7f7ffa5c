"""How our operator keeps up: 1,000 jobs at once, 10,000 that have ended, one of 64 nodes; beside it who else works.

    python -m benchmarks.scale
    python -m benchmarks.scale --only burst --jobs 100
    python -m benchmarks.scale --only idle --ended 1000

A real API server, the real training operator, and nodes and pods by kwok, on this machine; every part gets a cluster
of its own. Beside ours in the burst: a bare kopf handler with three calls a job, and the training operator alone with
the same PyTorchJobs, each with the ratio of ours to it. Times are those at which a watch of this process saw a change;
requests are those that our operator counts on /metrics (kopf's watches left out), and those that the API server counts
for all clients.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import scale_burst, scale_ended, scale_wide
from benchmarks.scale_burst import Burst
from benchmarks.scale_tables import burst_table, idle_table, wide_table
from rich.console import Console
from tests.cluster import session
from tests.cluster.harness import cluster, kwok, layout
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.session import Cluster

PARTS = ("burst", "idle", "wide")
NODES = 64
IDLE_SECONDS = 120


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the parts that were asked for, and print a table of each as soon as it is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be said again")
    parser.add_argument("--jobs", type=int, default=1000, help="at once")
    parser.add_argument("--ended", type=int, default=10000, help="jobs that have ended")
    parser.add_argument("--nodes", type=int, default=NODES, help="of the one wide job")
    parser.add_argument("--without-peers", action="store_true", help="ours alone")
    parser.add_argument("--until-told", action="store_true", help="don't wait until the training operator runs all")
    said = parser.parse_args(argv)
    console = Console(width=120)
    for part in said.only or PARTS:
        if part == "burst":
            found: list[Burst] = []
            try:
                found.extend(bursts(said.jobs, peers=not said.without_peers, until_running=not said.until_told))
            finally:
                if found:
                    console.print(burst_table(*found))
        elif part == "idle":
            with fresh() as (real, operator):
                console.print(idle_table(scale_ended.measure(real, operator, said.ended, IDLE_SECONDS)))
        else:
            with fresh() as (real, operator):
                operator.start()
                console.print(wide_table(scale_wide.measure(real, operator, said.nodes)))


@contextmanager
def fresh() -> Iterator[tuple[Cluster, OperatorProcess]]:
    """A control plane with the training operator and kwok's nodes, and an operator that does not run yet."""
    place = layout.default()
    cluster.up(place, nodes=0, kept=True, say=print)
    try:
        kwok.start(place, NODES)
        real = session.of_harness(place)
        with tempfile.TemporaryDirectory() as folder:
            operator = OperatorProcess(real, Path(folder))
            try:
                yield real, operator
            finally:
                operator.stop()
    finally:
        cluster.down(place, print)


def bursts(jobs: int, *, peers: bool, until_running: bool) -> Iterator[Burst]:
    """Ours, and beside it the bare handler and the training operator alone."""
    with fresh() as (real, operator):
        operator.start()
        yield scale_burst.ours(real, operator, jobs, until_running=until_running)
    if peers:
        with fresh() as (real, _), tempfile.TemporaryDirectory() as folder:
            yield scale_burst.kopf(real, jobs, Path(folder))
        with fresh() as (real, _):
            yield scale_burst.bare(real, jobs, until_running=until_running)


if __name__ == "__main__":
    main()
