"""Ctrl-C and SIGTERM as a wish to stop: the first asks, the second insists."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Self

CAUGHT = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Counts the signals that arrive while it is entered, and puts the old handlers back."""

    def __init__(self) -> None:
        self._count = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Start to listen; only the main thread may."""
        self._before = {number: signal.signal(number, self._caught) for number in CAUGHT}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop to listen."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def asked(self) -> bool:
        """Somebody wants the run to stop."""
        return self._count > 0

    def insisted(self) -> bool:
        """And does not want to wait for a checkpoint."""
        return self._count > 1

    def _caught(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
