"""Pure: how far a fetch is, how fast it goes, and when it will end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Phase = Literal["resolving", "waiting", "fetching", "done"]
"""`waiting`: another job fetches the same."""
_WINDOW = 30.0
"""Seconds that the speed looks back on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """One moment of a fetch."""

    phase: Phase
    source: str
    bytes: int = 0
    """In the cache, those of earlier attempts too."""
    total_bytes: int = 0
    """0: not known yet."""
    files: int = 0
    """Complete."""
    total_files: int = 0
    bytes_per_second: float | None = None
    remaining_seconds: int | None = None


Report = Callable[[Progress], None]


@dataclass(kw_only=True, slots=True)
class Meter:
    """Counts the bytes of all files. `put` is called from the threads that fetch, one thread for each file."""

    source: str
    sizes: dict[str, int]
    at: dict[str, int] = field(default_factory=dict)
    complete: set[str] = field(default_factory=set)
    _moments: deque[tuple[float, int]] = field(default_factory=deque)

    def put(self, name: str, position: int) -> None:
        """A file has so many bytes now; fewer than before when it begins anew."""
        self.at[name] = position

    def finish(self, name: str) -> None:
        """A file is complete."""
        self.at[name] = self.sizes[name]
        self.complete.add(name)

    def progress(self, now: float) -> Progress:
        """The state at a moment of a monotonic clock, in seconds."""
        done, total = sum(self.at.copy().values()), sum(self.sizes.values())
        speed = self._speed(now, done)
        return Progress(
            phase="fetching",
            source=self.source,
            bytes=done,
            total_bytes=total,
            files=len(self.complete),
            total_files=len(self.sizes),
            bytes_per_second=speed,
            remaining_seconds=round((total - done) / speed) if speed else None,
        )

    def _speed(self, now: float, done: int) -> float | None:
        """Bytes a second over the window; what lay there before the first moment never counts."""
        self._moments.append((now, done))
        while self._moments[0][0] < now - _WINDOW:
            self._moments.popleft()
        then, before = self._moments[0]
        return max(0, done - before) / (now - then) if now > then else None
