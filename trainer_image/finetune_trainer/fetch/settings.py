"""How often and how long: what suits everybody, and tests hurry."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from finetune_trainer.fetch.lease import Pulse


def free_bytes(folder: Path) -> int:
    """What can still be written there.

    Raises:
        OSError: there is no such folder.
    """
    return shutil.disk_usage(folder).free


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Of one fetch."""

    at_once: int = 4
    """Files."""
    attempts: int = 5
    """Requests for one answer; and for one file, connections in a row that bring nothing."""
    backoff: float = 1.0
    """Seconds between them, doubled each time."""
    tick: float = 1.0
    """Seconds between two reports."""
    pulse: Pulse = field(default_factory=Pulse)
    free: Callable[[Path], int] = free_bytes
