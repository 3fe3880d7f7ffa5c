"""What people see of a fetch: a bar on a terminal, a line now and then in a pod's log. On standard error: what the
program says on standard output is the folder."""

from __future__ import annotations

import sys
import time
from collections import Counter
from datetime import timedelta
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as RichProgress

from finetune_trainer.fetch.marker import Fetched
from finetune_trainer.fetch.progress import Progress

_SECONDS = 10.0
"""Between two lines of a log."""


class Screen(Protocol):
    """A report that people can read."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, also after a fault."""

    def __call__(self, progress: Progress) -> None:
        """One report."""


def screen() -> Screen:
    """A bar for people at a terminal, lines for a log."""
    return Bar() if sys.stderr.isatty() else Lines()


class Lines:
    """One line for each phase, and one each few seconds."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._phase = ""
        self._said = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to put away."""

    def __call__(self, progress: Progress) -> None:
        """Say it, if it is new or time."""
        now = time.monotonic()
        if progress.phase == self._phase and now - self._said < self._seconds:
            return
        self._phase, self._said = progress.phase, now
        sys.stderr.write(f"{in_words(progress)}\n")
        sys.stderr.flush()


class Bar:
    """Bytes, speed and time left."""

    def __init__(self) -> None:
        self._bar = RichProgress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False),
        )
        self._task = self._bar.add_task("fetch", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Move the bar."""
        self._bar.update(
            self._task,
            description=progress.phase,
            completed=progress.bytes,
            total=progress.total_bytes or None,
        )


def in_words(progress: Progress) -> str:
    """One moment in one line; what is not known is left out."""
    if progress.phase == "resolving":
        return f"{progress.source}: asking what there is"
    if progress.phase == "waiting":
        return f"{progress.source}: another job fetches it; waiting"
    of = f"{progress.files}/{progress.total_files} files  {decimal(progress.bytes)} of {decimal(progress.total_bytes)}"
    parts = [f"{progress.source}: {of}"]
    if progress.bytes_per_second is not None:
        parts.append(f"{decimal(round(progress.bytes_per_second))}/s")
    if progress.remaining_seconds is not None:
        parts.append(f"{timedelta(seconds=progress.remaining_seconds)} left")
    return "  ".join(parts)


def left_out(fetched: Fetched) -> str:
    """What was not needed, and why; empty where all was."""
    whys = Counter(fetched.left_out.values())
    told = (f"{count} ({why})" for why, count in whys.most_common())
    return f"left out {len(fetched.left_out)} files: {', '.join(told)}" if whys else ""
