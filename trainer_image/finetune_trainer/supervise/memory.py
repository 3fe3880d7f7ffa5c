"""This pod's memory as the kernel counts it: what was killed for it, what it took, what it may take."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
"""Of cgroup v2 and v1, as a container sees its own group."""
GROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.peak")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.max_usage_in_bytes")),
)
"""Limit and peak, likewise; kernels before 5.19 tell no peak in v2."""
_NO_LIMIT = 1 << 60
"""v1 has no word for none: a number that no machine has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Bytes of all processes of the pod; None where the kernel does not say."""

    limit: int | None = None
    peak: int | None = None


def kills(counters: tuple[Path, ...] = COUNTERS) -> int:
    """Processes of this group that the kernel killed for memory so far; 0 where it does not say."""
    for file in counters:
        if file.exists() and (found := re.search(r"^oom_kill (\d+)$", file.read_text(), re.MULTILINE)):
            return int(found[1])
    return 0


def group(groups: tuple[tuple[Path, Path], ...] = GROUPS) -> Group:
    """What this pod may take, and took at most."""
    for limit, peak in groups:
        if limit.exists():
            most = _number(limit)
            return Group(limit=None if most is None or most >= _NO_LIMIT else most, peak=_number(peak))
    return Group()


def _number(file: Path) -> int | None:
    text = file.read_text().strip() if file.exists() else ""
    return int(text) if text.isdecimal() else None
