"""How process 1 of a pod that does one thing ends: its word for the operator, its exit code, and SIGTERM."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

from finetune_trainer.records import EXIT_AGAIN, EXIT_LASTING, Report
from finetune_trainer.supervise.report import leave_message

log = logging.getLogger(__name__)


def end_on_sigterm() -> None:
    """From now on SIGTERM raises SystemExit(143), as any other exit: what is held is given back."""
    signal.signal(signal.SIGTERM, _end)


def leave(found: Report, termination_log: Path | None) -> int:
    """Say it in the log and in the termination message.

    Returns:
        The exit code: 0, `EXIT_AGAIN` or `EXIT_LASTING`.
    """
    log.info("%s", found.message)
    leave_message(found.to_termination_message(), termination_log)
    if found.result == "succeeded":
        return 0
    return EXIT_AGAIN if found.retryable else EXIT_LASTING


def _end(number: int, frame: object) -> None:  # noqa: ARG001 - as signal calls it
    raise SystemExit(128 + number)
