"""What `benchmarks.scale` prints: ours, and beside it who else did the same, as figures and as ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.scale_burst import Burst, share
from benchmarks.scale_ended import Idle
from benchmarks.scale_usage import COMPONENTS, OURS
from benchmarks.scale_wide import Wide
from rich.table import Table

PEERS = ("bare kopf handler", "training operator alone")
Figure = Callable[[Burst], float | None]


def _cpu_of(component: str) -> Figure:
    return lambda one: one.used.cpu.get(component)


FIGURES: tuple[tuple[str, Figure], ...] = (
    ("kubectl create, s", lambda one: one.creating),
    ("after the last create, all have a PyTorchJob, s", lambda one: one.started),
    ("  all have a current status", lambda one: one.told),
    ("  all are told to run", lambda one: one.running),
    ("creation to PyTorchJob, s: p50", lambda one: share(one.to_start, 0.5)),
    ("  p95", lambda one: share(one.to_start, 0.95)),
    ("  max", lambda one: share(one.to_start, 1.0)),
    ("creation to status, s: p50", lambda one: share(one.to_tell, 0.5)),
    ("  p95", lambda one: share(one.to_tell, 0.95)),
    ("  max", lambda one: share(one.to_tell, 1.0)),
    ("PyTorchJob to the training operator's Running, s: p50", lambda one: share(one.to_run, 0.5)),
    ("  p95", lambda one: share(one.to_run, 0.95)),
    ("status writes a job", lambda one: one.writes or None),
    ("the operator's requests a job", lambda one: sum(one.asked.values()) / one.jobs or None),
    ("all clients' requests a job", lambda one: sum(one.used.requests.values()) / one.jobs),
    ("the operator's memory, MiB", lambda one: one.used.rss.get(OURS)),
    ("CPU s: the operator", lambda one: one.used.cpu.get(OURS)),
    *((f"  {name}", _cpu_of(name)) for name in COMPONENTS),
)


def burst_table(ours: Burst, *peers: Burst) -> Table:
    """A column for each round, and for each peer's how many times as much ours is."""
    names = PEERS[: len(peers)]
    table = Table("what", "ours", title=f"{ours.jobs} jobs at once")
    for name in names:
        table.add_column(name)
        table.add_column("ours :")
    for what, figure in FIGURES:
        mine = figure(ours)
        beside = [cell for peer in peers for cell in (_shown(figure(peer)), _ratio(mine, figure(peer)))]
        table.add_row(what, _shown(mine), *beside)
    for what, calls in sorted(ours.asked.items()):
        table.add_row(f"  {what} a job", _shown(calls / ours.jobs))
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


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _ratio(ours: float | None, theirs: float | None) -> str:
    """Empty where one of them did not do it."""
    return f"{ours / theirs:.2f}" if ours is not None and theirs else ""
