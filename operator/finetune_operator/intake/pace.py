"""How often somebody may ask: a bucket of tokens for each, of the latest few thousand."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable

REMEMBERED = 4096
"""Askers; one that is forgotten starts anew with a full bucket."""


class Pace:
    """So many at once, and so many a second from then on, for each asker by itself."""

    def __init__(self, *, at_once: int, per_second: float, clock: Callable[[], float]) -> None:
        self._at_once, self._per_second, self._clock = at_once, per_second, clock
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def wait(self, asker: Hashable) -> int:
        """0: it may, and this one is counted; otherwise the whole seconds after which it may again."""
        now = self._clock()
        left, seen = self._left.get(asker, (float(self._at_once), now))
        left = min(float(self._at_once), left + (now - seen) * self._per_second)
        allowed = left >= 1
        self._left[asker] = (left - 1 if allowed else left, now)
        self._left.move_to_end(asker)
        while len(self._left) > REMEMBERED:
            self._left.popitem(last=False)
        return 0 if allowed else math.ceil((1 - left) / self._per_second)
