"""An event as a value: one thing that happened to a job, for `kubectl describe`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One thing that happened."""

    reason: str
    message: str
    type: Literal["Normal", "Warning"] = "Normal"
    once: str
    """Names it among all events of the job."""
