"""Pure: how fast a run goes and when it will end, from what happened since this process began training."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW = 50
"""Steps that the estimate looks back on: long enough to smooth one slow batch, short enough to follow a change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """The state at one step's end. `seconds` is a monotonic clock; `tokens` counts all ranks."""

    step: int
    seconds: float
    tokens: int


@dataclass(kw_only=True, slots=True)
class Speed:
    """Tokens per second and the time left; resumed steps, done by an earlier process, never count."""

    total_steps: int
    moments: deque[Moment] = field(default_factory=lambda: deque(maxlen=WINDOW + 1))
    began: float = 0.0

    def begin(self, moment: Moment) -> None:
        """Training starts, at step 0 or where a checkpoint left off."""
        self.moments.clear()
        self.moments.append(moment)
        self.began = moment.seconds

    def add(self, moment: Moment) -> None:
        """A step has ended."""
        self.moments.append(moment)

    @property
    def elapsed(self) -> float:
        """Seconds since this process began training."""
        return self.moments[-1].seconds - self.began if self.moments else 0.0

    @property
    def tokens_per_second(self) -> float | None:
        """Over the last steps, all ranks together."""
        first, last = self._ends()
        return (last.tokens - first.tokens) / (last.seconds - first.seconds) if last.seconds > first.seconds else None

    @property
    def tokens_per_step(self) -> float | None:
        """Over the last steps, all ranks together."""
        first, last = self._ends()
        return (last.tokens - first.tokens) / (last.step - first.step) if last.step > first.step else None

    @property
    def remaining_seconds(self) -> int | None:
        """Until the last step, if it goes on as over the last steps."""
        first, last = self._ends()
        if last.step == first.step:
            return None
        return round((last.seconds - first.seconds) / (last.step - first.step) * (self.total_steps - last.step))

    def _ends(self) -> tuple[Moment, Moment]:
        nothing = Moment(step=0, seconds=0.0, tokens=0)  # a run that only evaluates
        return (self.moments[0], self.moments[-1]) if self.moments else (nothing, nothing)
