"""How our operator keeps up: 1,000 jobs at once, 10,000 that have ended, one of 64 nodes; beside it who else works.

    python -m benchmarks.scale
    python -m benchmarks.scale --only burst --jobs 100
    python -m benchmarks.scale --only idle --ended 1000

A real API server, the real training operator, and nodes and pods by kwok, on this machine; every part gets a cluster
of its own. Beside ours in the burst: a bare kopf handler with three calls a job, and the training operator alone with
the same PyTorchJobs. Times are those at which a watch of this process saw a change; requests are those that our
operator counts on /metrics (kopf's watches left out), and those that the API server counts for all clients.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import scale_burst, scale_ended, scale_wide
from benchmarks.scale_burst import Burst
from benchmarks.scale_ended import Idle
from benchmarks.scale_usage import COMPONENTS, OURS
from benchmarks.scale_wide import Wide
from rich.console import Console
from rich.table import Table
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


def burst_table(*bursts: Burst) -> Table:
    """One column for each round."""
    names = ("ours", "bare kopf handler", "training operator alone")
    table = Table("what", *names[: len(bursts)], title=f"{bursts[0].jobs} jobs at once")
    rows = {
        "kubectl create, s": [f"{one.creating:.1f}" for one in bursts],
        "after the last create, s": ["" for _ in bursts],
        "  all have a PyTorchJob": [_seconds(one.started) for one in bursts],
        "  all have a current status": [f"{one.told:.1f}" for one in bursts],
        "  all are told to run": [_seconds(one.running) for one in bursts],
        "creation to PyTorchJob, s: p50 / p95 / max": [_spread(one.to_start) for one in bursts],
        "creation to status, s": [_spread(one.to_tell) for one in bursts],
        "PyTorchJob to training operator's Running, s": [_spread(one.to_run) for one in bursts],
        "status writes per job": [f"{one.writes:.1f}" for one in bursts],
        "operator's requests per job": [_per_job(one) for one in bursts],
        "all clients' requests per job": [f"{sum(one.used.requests.values()) / one.jobs:.1f}" for one in bursts],
        "operator's memory, MiB": [f"{one.used.rss.get(OURS, 0):.0f}" for one in bursts],
        "CPU s: operator": [f"{one.used.cpu.get(OURS, 0):.1f}" for one in bursts],
        **{f"  {name}": [f"{one.used.cpu.get(name, 0):.1f}" for one in bursts] for name in COMPONENTS},
    }
    for what, cells in rows.items():
        table.add_row(what, *cells)
    for what, calls in sorted(bursts[0].asked.items()):
        table.add_row(f"  {what} per job", f"{calls / bursts[0].jobs:.2f}")
    return table


def idle_table(idle: Idle) -> Table:
    """Jobs that have ended."""
    rows = {
        "written by the benchmark in, s": f"{idle.writing:.0f}",
        "operator started: healthy after, s": f"{idle.healthy:.1f}",
        "  an edited job answered after, s": f"{idle.answered:.1f}",
        "  a new job has its PyTorchJob after, s": f"{idle.started:.1f}",
        "  every job looked at after, s": f"{idle.settled:.0f}",
        "memory at most until then, MiB": f"{idle.peak:.0f}",
        "memory idle, MiB": f"{idle.rss:.0f}",
        "CPU idle, share of a core": f"{idle.cpu:.3f}",
        "requests a minute idle": f"{idle.calls:.1f}",
    }
    return _ours(f"{idle.jobs} jobs that have ended", rows)


def wide_table(wide: Wide) -> Table:
    """One job of many nodes."""
    rows = {
        "PyTorchJob": f"{wide.started:.2f}",
        "training operator made its last pod": f"{wide.pods:.2f}",
        "training operator says Running": f"{wide.running_there:.2f}",
        "our status says Running": f"{wide.running:.2f}",
        "status writes": str(wide.writes),
        "operator's requests": str(sum(wide.asked.values())),
        "operator's memory, MiB": f"{wide.rss:.0f}",
    }
    return _ours(f"one job of {wide.nodes} nodes; seconds from its creation", rows)


def _ours(title: str, rows: Mapping[str, str]) -> Table:
    """A table of figures that have no peer."""
    table = Table("what", "ours", title=title)
    for what, figure in rows.items():
        table.add_row(what, figure)
    return table


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    return " / ".join(f"{scale_burst.share(values, part):.2f}" for part in (0.5, 0.95, 1.0))


def _per_job(burst: Burst) -> str:
    return f"{sum(burst.asked.values()) / burst.jobs:.1f}" if burst.asked else ""


if __name__ == "__main__":
    main()
