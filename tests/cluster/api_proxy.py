"""A proxy between one operator and the real API server, which counts what is asked, and breaks on purpose.

It listens on this machine without TLS, speaks TLS to the API server, and hands the caller's token on: the rights are
the caller's own. Watches are passed on line by line. It runs in a thread of its own; `fault` may change at any time.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import aiohttp
from aiohttp import web

from .session import Cluster

WRITES = frozenset({"create", "patch", "delete"})
_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
_OWN_HEADERS = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})
_GONE = {
    "kind": "Status",
    "status": "Failure",
    "reason": "Expired",
    "code": 410,
    "message": "too old resource version",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What is done to requests while it lasts; unsaid, nothing."""

    delay: float = 0.0
    """Seconds before a request is passed on."""
    away: bool = False
    """Every connection ends without an answer, open watches too."""
    status: int | None = None
    """Answered in the API server's place ..."""
    only: frozenset[str] = frozenset()
    """... to these verbs; none: to all ..."""
    every: int = 1
    """... and of those to each n-th request."""
    retry_after: int | None = None
    """Seconds, as a header of that answer."""
    watch: Literal["", "cut", "silent", "late", "gone", "gone-event"] = ""
    """What becomes of watches: cut after `seconds`; open, but nothing comes, and what would have come is lost; each
    line `seconds` late; 410 as the answer's status, or as an event."""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One request."""

    at: float
    """Seconds on the monotonic clock."""
    verb: str
    resource: str


class ApiProxy:
    """A context manager: it serves inside.

    Attributes:
        fault: what is done to requests from now on.
        asked: every request so far.
        url: where an operator finds it, inside the `with`.
    """

    def __init__(self, cluster: Cluster) -> None:
        config = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
        found = config["clusters"][0]["cluster"]
        self._server = str(found["server"])
        authority = base64.b64decode(found["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="API proxy", daemon=True)
        self._open: set[asyncio.Transport] = set()
        self._fault = Fault()
        self._matched = 0
        self.asked: list[Asked] = []
        self.url = ""

    def __enter__(self) -> Self:
        """Serve on a free port."""
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(30)
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        """End all connections."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    @property
    def fault(self) -> Fault:
        """What is done to requests."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self._fault = fault
        if fault.away or fault.watch not in {"", "silent"}:
            self._loop.call_soon_threadsafe(self._cut_all)

    def calls(self, since: float, until: float | None = None) -> Counter[tuple[str, str]]:
        """How often each (verb, resource) was asked between two monotonic times."""
        end = time.monotonic() if until is None else until
        return Counter((one.verb, one.resource) for one in list(self.asked) if since <= one.at < end)

    async def _serve(self) -> int:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=0), auto_decompress=False
        )
        server = web.Application(client_max_size=1 << 24)
        server.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(server, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def _end(self) -> None:
        self._cut_all()
        await self._runner.cleanup()
        await self._session.close()
        ours = asyncio.all_tasks() - {asyncio.current_task()}
        for task in ours:
            task.cancel()
        await asyncio.gather(*ours, return_exceptions=True)

    def _cut_all(self) -> None:
        for transport in self._open:
            transport.abort()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        self._open.add(transport)
        verb, resource = verb_and_resource(request.method, request.path, request.query)
        self.asked.append(Asked(at=time.monotonic(), verb=verb, resource=resource))
        try:
            return await self._broken(request, verb) or await self._passed_on(request, verb)
        except (aiohttp.ClientError, ConnectionError):
            transport.abort()
            return web.Response(status=502)  # to nobody
        finally:
            self._open.discard(transport)

    async def _broken(self, request: web.Request, verb: str) -> web.StreamResponse | None:
        """What the fault answers in the API server's place; None: nothing."""
        fault = self._fault
        await asyncio.sleep(fault.delay)
        if fault.away:
            raise ConnectionResetError("the proxy plays an API server that is away")
        if verb == "watch" and fault.watch == "gone":
            return web.json_response(_GONE, status=410)
        if fault.status is None or (fault.only and verb not in fault.only):
            return None
        self._matched += 1
        if self._matched % fault.every:
            return None
        headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
        message = f"the proxy plays an API server that answers {fault.status}"
        body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": fault.status, "message": message}
        return web.json_response(body, status=fault.status, headers=headers)

    async def _passed_on(self, request: web.Request, verb: str) -> web.StreamResponse:
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OWN_HEADERS}
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.request(
            request.method,
            self._server + request.path_qs,
            data=body or None,
            headers=headers,
            timeout=timeout,
            skip_auto_headers=("Content-Type", "Accept-Encoding", "User-Agent"),
        ) as upstream:
            kept = {name: value for name, value in upstream.headers.items() if name.lower() not in _OWN_HEADERS}
            if verb != "watch" or upstream.status != 200:
                return web.Response(body=await upstream.read(), status=upstream.status, headers=kept)
            answer = web.StreamResponse(status=upstream.status, headers=kept)
            await answer.prepare(request)
            try:
                async with asyncio.timeout(self._fault.seconds if self._fault.watch == "cut" else None):
                    await self._lines(upstream, answer)
            except TimeoutError:
                pass
            return answer

    async def _lines(self, upstream: aiohttp.ClientResponse, answer: web.StreamResponse) -> None:
        """The events of a watch, as the fault lets them through; what fell silent once stays so to its end."""
        if self._fault.watch == "gone-event":
            await answer.write(json.dumps({"type": "ERROR", "object": _GONE}).encode() + b"\n")
            return
        is_silent = self._fault.watch == "silent"
        async for chunk in upstream.content.iter_any():
            is_silent = is_silent or self._fault.watch == "silent"
            if is_silent:
                continue
            if self._fault.watch == "late":
                await asyncio.sleep(self._fault.seconds)
            await answer.write(chunk)


def verb_and_resource(method: str, path: str, query: Mapping[str, Any]) -> tuple[str, str]:
    """As a Role would name them: `("patch", "finetunejobs/status")`; what is no resource is `discovery`."""
    parts = [part for part in path.split("/") if part]
    rest = parts[3:] if parts[:1] == ["apis"] else parts[2:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    if not rest:
        return "get", "discovery"
    resource = rest[0] + (f"/{rest[2]}" if len(rest) > 2 else "")
    if method == "GET":
        return "watch" if query.get("watch") == "true" else "get" if len(rest) > 1 else "list", resource
    return _VERBS[method], resource
