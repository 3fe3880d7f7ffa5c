"""How often watches are begun, and whether each of them still is.

Law: stands between kopf's HTTP session and the API server; knows neither kopf nor what is watched.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

CALM_SECONDS = 30.0
"""A watch that has lasted so long is begun again at once when it ends."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0


@dataclass(slots=True)
class _Begun:
    at: float
    hasty: int = 0
    """How often in a row it was begun again before its time."""


class Watches:
    """An aiohttp client middleware: pauses before a watch that keeps ending, and remembers when each was begun.

    kopf begins a watch that has ended at once, for ever: a proxy that closes watches, or an API server that answers
    each with 410, would be asked as fast as it answers.

    Args:
        silent_after: Seconds without a new begin after which a watch counts as dead: each is ended after some minutes.
        clock: Seconds on a clock that never goes back.
        sleep: `asyncio.sleep` unless a test brings its own.
    """

    def __init__(
        self,
        silent_after: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._silent_after = silent_after
        self._clock, self._sleep = clock, sleep
        self._begun: dict[str, _Begun] = {}

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Pass a request on; a watch perhaps later."""
        if request.url.query.get("watch") == "true":
            await self._sleep(self.pause(request.url.path))
        return await handler(request)

    def pause(self, path: str) -> float:
        """Seconds to wait before the watch of this path begins, as it now does; doubles while it is hasty."""
        now, last = self._clock(), self._begun.get(path)
        hasty = last.hasty + 1 if last is not None and now - last.at < CALM_SECONDS else 0
        seconds = min(FIRST_PAUSE * 2 ** (hasty - 1), LONGEST_PAUSE) if hasty else 0.0
        self._begun[path] = _Begun(at=now + seconds, hasty=min(hasty, 10))
        return seconds

    @property
    def dead(self) -> str | None:
        """The path of a watch that nobody has begun for too long, and so nobody reads; None: all are well."""
        late = self._clock() - self._silent_after
        return next((path for path, last in self._begun.items() if last.at < late), None)
