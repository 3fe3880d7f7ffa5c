"""What a cluster has left on the machine: nothing, after `down`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from .layout import BRIDGE, CGROUP, Layout
from .process import hierarchies


def find(layout: Layout) -> list[str]:
    """Processes, mounts, network namespaces, links and cgroups of a cluster, a line each."""
    return [*_processes(layout), *_mounts(layout), *_network(), *_cgroups()]


def _processes(layout: Layout) -> list[str]:
    """Those that run our programs, or name our folders; one that has ended has no command line."""
    marks = (f"{layout.cache}/bin-", str(layout.data), str(layout.bin), str(layout.run))
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (folder / "cmdline").read_text().replace("\0", " ")
            program = str((folder / "exe").readlink())
            if any(mark in f"{program} {line}" for mark in marks):
                found.append(f"process {folder.name}: {line}")
    return found


def _mounts(layout: Layout) -> list[str]:
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [f"mount {point}" for point in points if point.startswith((str(layout.state), str(layout.run)))]


def _network() -> list[str]:
    namespaces = [f"network namespace {path.name}" for path in Path("/run/netns").glob("finetune-*")]
    links = [
        path.name for path in Path("/sys/class/net").iterdir() if path.name == BRIDGE or path.name.startswith("ft-")
    ]
    return [*namespaces, *(f"link {name}" for name in links)]


def _cgroups() -> list[str]:
    return [f"cgroup {base / CGROUP}" for base in hierarchies() if (base / CGROUP).exists()]
