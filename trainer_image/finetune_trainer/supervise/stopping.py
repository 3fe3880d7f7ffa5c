"""Pure: when a wish to stop turns into SIGTERM, and SIGTERM into SIGKILL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Step = Literal["wait", "terminate", "kill"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopping:
    """The ranks save by themselves as long as there is time; the launcher is told only when it runs out.

    Times are monotonic seconds. A fifth of the grace time, at most 30 s, is kept back: two thirds of it for the
    launcher to end its ranks, the rest to write the outcome before the kubelet kills this process too.
    """

    asked: float
    grace: float

    @property
    def _margin(self) -> float:
        return min(30.0, self.grace / 5)

    def step(self, now: float) -> Step:
        """What is due at this moment."""
        if now >= self.asked + self.grace - self._margin / 3:
            return "kill"
        if now >= self.asked + self.grace - self._margin:
            return "terminate"
        return "wait"

    def at_once(self, now: float) -> Stopping:
        """Somebody asked a second time: no more waiting for a checkpoint."""
        return Stopping(asked=now - self.grace + self._margin, grace=self.grace)
