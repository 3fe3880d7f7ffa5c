"""All jobs again and again: what an event that was lost would have told costs a minute, and no more.

Law: decides which jobs are looked at though nothing is known to have happened; does not know what a look is.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable

from finetune_operator.cluster import ClusterError
from finetune_operator.names import Key

logger = logging.getLogger(__name__)


class Resync:
    """Adds every job every `seconds`, whatever the watches say: a lost event costs no more. (They list all at start.)

    A job that has ended, and is still the version that `rests` was told of, is left alone.

    Args:
        jobs: Lists the jobs, each with its version.
        add: Takes one.
        seconds: Between two rounds; each wait is up to a tenth shorter or longer.
        sleep: `asyncio.sleep` unless a test brings its own.
        clock: Seconds on a clock that never goes back.
    """

    def __init__(
        self,
        jobs: Callable[[], Awaitable[Iterable[tuple[Key, str]]]],
        add: Callable[[Key], None],
        *,
        seconds: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs = jobs
        self._resting: dict[Key, str] = {}
        self._add = add
        self._seconds = seconds
        self._sleep = sleep
        self._clock = clock
        self._last = clock()
        self._task: asyncio.Task[None] | None = None

    def rests(self, key: Key, version: str) -> None:
        """This job has ended, and nothing is left to be done about this version of it."""
        self._resting[key] = version

    def is_resting(self, key: Key) -> bool:
        """`rests` was told of it, and the rounds have not seen another version since."""
        return key in self._resting

    def start(self) -> None:
        """Start the rounds in the running event loop; the first is after `seconds`."""
        self._task = asyncio.create_task(self._rounds(), name="resync")

    async def stop(self) -> None:
        """End the rounds."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def alive(self) -> bool:
        """The rounds were started, go on, and the last one ended less than three periods ago.

        An API server that does not answer is no reason to restart us: a round that failed has ended, too.
        """
        late = self._clock() - self._last > 3 * self._seconds
        return self._task is not None and not self._task.done() and not late

    async def _rounds(self) -> None:
        while True:
            await self._sleep(self._seconds * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            try:
                await self._round()
            except ClusterError as error:
                logger.warning("could not list the jobs: %s", error)
            except Exception:
                logger.exception("a bug in the resync, which ends with it")
                raise
            self._last = self._clock()

    async def _round(self) -> None:
        found = dict(await self._jobs())
        self._resting = {key: version for key, version in self._resting.items() if found.get(key) == version}
        for key in found:
            if key not in self._resting:
                self._add(key)
