"""Waiting for something that another process does: generous limits that end early, and errors that name the log."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class ClusterError(Exception):
    """Something of the test cluster did not do what it must; the message says what, and where its log is."""


def until(
    what: str,
    probe: Callable[[], T | None],
    *,
    limit: float = 120,
    step: float = 0.1,
    alive: Callable[[], bool] | None = None,
    log: Path | None = None,
) -> T:
    """Ask `probe` every `step` seconds until it answers with something true.

    Args:
        what: what we wait for, for the error.
        probe: its OSError, ValueError and ClusterError mean "not yet".
        limit: seconds.
        step: seconds between two questions.
        alive: when this turns false, waiting is pointless.
        log: its end is quoted in the error.

    Raises:
        ClusterError: the limit passed, or `alive` turned false.
    """
    start = time.monotonic()
    last: Exception | None = None
    while True:
        try:
            if answer := probe():
                return answer
        except (OSError, ValueError, ClusterError) as error:
            last = error
        waited = time.monotonic() - start
        if alive is not None and not alive():
            raise ClusterError(f"{what}: the process ended after {waited:.0f} s{tail(log)}")
        if waited > limit:
            raise ClusterError(f"{what}: not within {limit:.0f} s ({last or 'no answer'}){tail(log)}")
        time.sleep(step)


def tail(log: Path | None, lines: int = 15) -> str:
    """The end of a log, to be appended to an error."""
    if log is None or not log.exists():
        return ""
    end = "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return f"\n--- end of {log} ---\n{end}"
