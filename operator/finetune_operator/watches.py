"""How often watches are begun, what becomes of answers that would end them for good, and whether each still is.

Law: stands between kopf's HTTP session and the API server; knows nothing of what is watched.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

import aiohttp

logger = logging.getLogger(__name__)

CALM_SECONDS = 30.0
"""A watch that has lasted so long is begun again at once when it ends."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0


@dataclass(slots=True)
class _Begun:
    at: float
    hasty: int = 0
    """How often in a row it was begun again before its time."""


class _Expired:
    """The body of a watch that was answered 410, as the event that says the same."""

    async def iter_chunked(self, _size: int) -> AsyncIterator[bytes]:
        """Its only line."""
        yield json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410}}).encode() + b"\n"


class _WholeLines:
    """The body of a watch without a last line that was cut off, which would end kopf."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - all that aiohttp asks of it when the response ends
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Up to the last line's end of each chunk."""
        rest = b""
        async for data in self._content.iter_chunked(size):
            whole, end, rest = (rest + data).rpartition(b"\n")
            if end:
                yield whole + end


class Watches:
    """An aiohttp client middleware for kopf's session.

    - kopf begins a watch that has ended at once, for ever: a proxy that closes watches, or an API server to which
      every version is too old, would be asked as fast as it answers. So a watch that keeps ending waits.
    - 5xx for a minute, 410 as a status, or half a line end kopf: it gets the first and the last never, and 410 as an
      event.
    - It remembers when each watch was begun, for the liveness probe.

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
        is_watch = request.url.query.get("watch") == "true"
        if is_watch:
            await self._sleep(self.pause(request.url.path))
        response = await self._insist(request, handler)
        if is_watch and response.status == 410:
            await response.read()
            response.status = 200
            response.content = cast("Any", _Expired())
        elif is_watch:
            response.content = cast("Any", _WholeLines(response.content))
        return response

    async def _insist(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Ask until the answer is none of 5xx; the request's own timeout ends it."""
        wait = 1.0
        while (response := await handler(request)).status >= 500:
            logger.warning("%s: HTTP %d; next try in %.0f s", request.url.path, response.status, wait)
            response.release()
            await self._sleep(wait)
            wait = min(2 * wait, LONGEST_PAUSE)
        return response

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
