"""What goes wrong when a tracker begins, in words for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from finetune_trainer.failures import RunError


@contextmanager
def beginning(tracker: str, *, instead: str) -> Iterator[None]:
    """Name what a tracker's package raises when it can't begin: no key, no server, a setting that it refuses.

    Raises:
        RunError: with its reason, and what to do `instead`.
    """
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RunError(f"report_to: {tracker} can't begin: {reason}; {instead}") from error
