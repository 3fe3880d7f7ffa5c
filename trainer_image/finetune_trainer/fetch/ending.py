"""SIGTERM ends a process that fetches as any other exit does."""

from __future__ import annotations

import signal


def end_on_sigterm() -> None:
    """From now on SIGTERM raises SystemExit(143): the lease is given back, and nobody waits for a dead holder."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: object) -> None:  # noqa: ARG001 - as signal calls it
    raise SystemExit(128 + number)
