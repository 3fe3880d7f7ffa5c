"""Our own keyed work queue: at most one pass per job at a time, and backoff per job.

Law: decides when a pass runs; does not know what a pass does. (kopf's timers and daemons would put a finalizer on
every job, and kopf serialises events by object, so that a child's event would run beside its parent's.)
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Sequence
from enum import IntEnum
from typing import Protocol

from finetune_operator import logs
from finetune_operator.cluster import ClusterError
from finetune_operator.names import Key

logger = logging.getLogger(__name__)

FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 120.0


RESTING_PAUSE = 0.01
"""Seconds between two passes over jobs that rest: ten thousand are looked at in some minutes, beside the others."""

TOGETHER = 50
"""Jobs that rest and are read together."""

RESTING_TROUBLE = 5.0
"""Seconds that they all wait after one of them failed: most likely the API server is away."""


class Lane(IntEnum):
    """How urgent a pass is; the lower, the sooner."""

    ASKED = 0
    """Somebody waits for an answer: the job is new, or was edited."""
    CHANGED = 1
    """A child changed, or a clock rang."""
    RESTING = 2
    """Nothing is known to have happened since it ended: one at a time, with a pause."""


Pass = Callable[[Key], Awaitable[float | None]]
"""Runs for a key; returns the seconds until the key needs another pass by itself, or None."""


LookAhead = Callable[[Sequence[Key]], Awaitable[None]]
"""Told of the keys that are next in the lane of those that rest."""


_Turn = tuple[Lane, int, Key]
"""(lane, number that rises, key)."""


class Timer(Protocol):
    """What `Clock.call_later` gives back."""

    def cancel(self) -> None:
        """Don't call any more."""

    def when(self) -> float:
        """The clock's time of the call."""


class Clock(Protocol):
    """The part of an event loop that tells and waits for the time; a running loop is one."""

    def time(self) -> float:
        """Seconds on a clock that never goes back."""

    def call_later(self, delay: float, callback: Callable[[Key], object], key: Key, /) -> Timer:
        """Call `callback(key)` after `delay` seconds."""


class WorkQueue:
    """Keys in, passes out.

    Args:
        concurrency: Passes at the same time, over all keys.
        clock: The event loop unless a test brings its own.
        finished: Told of every pass: its result ("ok", "error", "crash") and how many seconds it took.
    """

    def __init__(
        self,
        *,
        concurrency: int,
        clock: Clock | None = None,
        finished: Callable[[str, float], None] = lambda _result, _seconds: None,
    ) -> None:
        self._concurrency = concurrency
        self._own_clock = clock
        self._finished = finished
        self._ready: asyncio.PriorityQueue[_Turn] = asyncio.PriorityQueue()
        self._resting: asyncio.Queue[_Turn] = asyncio.Queue()
        self._turns = itertools.count()
        self._queued: dict[Key, Lane] = {}
        self._running: set[Key] = set()
        self._again: dict[Key, Lane] = {}
        self._timers: dict[Key, Timer] = {}
        self._failures: dict[Key, int] = {}
        self._workers: list[asyncio.Task[None]] = []

    def add(self, key: Key, lane: Lane = Lane.CHANGED) -> None:
        """Run a pass soon; during a pass of the same key: once more afterwards. Of two lanes the faster one stands."""
        if key in self._running:
            self._again[key] = min(lane, self._again.get(key, lane))
        elif lane < self._queued.get(key, Lane.RESTING + 1):
            self._queued[key] = lane
            line = self._resting if lane == Lane.RESTING else self._ready
            line.put_nowait((lane, next(self._turns), key))

    def add_after(self, key: Key, seconds: float) -> None:
        """Run a pass in `seconds`, unless one starts before that; of two wishes the earlier one stands."""
        known = self._timers.get(key)
        if known is not None:
            if known.when() <= self._clock.time() + seconds:
                return
            known.cancel()
        self._timers[key] = self._clock.call_later(max(0.0, seconds), self._due, key)

    def __len__(self) -> int:
        """Keys that wait for a worker; those that rest are not counted."""
        return sum(lane != Lane.RESTING for lane in self._queued.values())

    @property
    def alive(self) -> bool:
        """The workers were started and none of them has ended."""
        return bool(self._workers) and not any(worker.done() for worker in self._workers)

    def start(self, one_pass: Pass, look_ahead: LookAhead | None = None) -> None:
        """Start the workers in the running event loop; what was added before waits for them."""
        self._workers = [
            asyncio.create_task(self._work(one_pass), name=f"pass worker {index}")
            for index in range(self._concurrency)
        ]
        resting = self._rest(one_pass, look_ahead or _no_look)
        self._workers.append(asyncio.create_task(resting, name="pass worker of those that rest"))

    async def stop(self) -> None:
        """Cancel timers and workers; a pass that runs ends at its next await, and the next start repeats it."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def idle(self) -> None:
        """Wait until no key is queued and no pass runs; timers don't count."""
        await self._ready.join()
        await self._resting.join()

    @property
    def _clock(self) -> Clock:
        return self._own_clock or asyncio.get_running_loop()

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def _work(self, one_pass: Pass) -> None:
        while True:
            lane, _, key = await self._ready.get()
            await self._serve(one_pass, key, lane)
            self._ready.task_done()

    async def _rest(self, one_pass: Pass, look_ahead: LookAhead) -> None:
        """One after the other, with a look ahead at some together."""
        while True:
            keys = [(await self._resting.get())[-1]]
            while len(keys) < TOGETHER and not self._resting.empty():
                keys.append(self._resting.get_nowait()[-1])
            await self._run_ahead(look_ahead, keys)
            for key in keys:
                await self._serve(one_pass, key, Lane.RESTING)
                self._resting.task_done()
                await asyncio.sleep(RESTING_PAUSE)

    async def _run_ahead(self, look_ahead: LookAhead, keys: Sequence[Key]) -> None:
        """Until it was possible: without it each pass would ask for itself."""
        while True:
            try:
                return await look_ahead(keys)
            except ClusterError as error:
                logger.warning("jobs that have ended wait: %s", error)
                await asyncio.sleep(RESTING_TROUBLE)

    async def _serve(self, one_pass: Pass, key: Key, lane: Lane) -> None:
        """A pass of a key whose turn has come, unless it went by a faster lane; what is asked meanwhile waits."""
        if self._queued.get(key) != lane:
            return
        del self._queued[key]
        self._running.add(key)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        try:
            is_done = await self._run(one_pass, key, or_again=lane != Lane.RESTING)
        finally:
            self._running.discard(key)
            if key in self._again:
                self.add(key, self._again.pop(key))
        if not is_done and lane == Lane.RESTING:
            self.add(key, lane)
            await asyncio.sleep(RESTING_TROUBLE)  # of one as of ten thousand: they wait together

    async def _run(self, one_pass: Pass, key: Key, *, or_again: bool) -> bool:
        """One pass, and when the next one comes; False: it failed, and was not to come again by itself."""
        begin, result = self._clock.time(), "ok"
        try:
            requeue_after = await one_pass(key)
        except ClusterError as error:
            result, requeue_after = "error", self._backoff(key, error.retry_after)
            logger.warning("%s: %s; next try in %.0f s", key, error, requeue_after, extra=logs.about(key))
        except Exception:
            result, requeue_after = "crash", self._backoff(key, None)
            logger.exception("%s: a bug in a pass; next try in %.0f s", key, requeue_after, extra=logs.about(key))
        else:
            self._failures.pop(key, None)
        self._finished(result, self._clock.time() - begin)
        if requeue_after is not None and (or_again or result == "ok"):
            self.add_after(key, requeue_after)
        return result == "ok" or or_again

    def _backoff(self, key: Key, retry_after: float | None) -> float:
        """Doubles with each failure in a row, and is no shorter than the API server asks for.

        A server that is overloaded asks for a second, every time: obeying it alone would be a hot loop.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        doubled: float = FIRST_BACKOFF * 2**failures
        return max(retry_after or 0.0, min(doubled, LONGEST_BACKOFF))


async def _no_look(_keys: Sequence[Key]) -> None:
    """Each pass reads what it needs."""
