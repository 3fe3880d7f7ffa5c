"""One call of the API server by kubernetes.aio's plain client: dicts in and out, a `ClusterError` where it fails."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.api_client import ApiClient

from finetune_operator import names
from finetune_operator.cluster import paths
from finetune_operator.cluster.clock import ServerClock
from finetune_operator.cluster.errors import ClusterError, Conflict, NotFound, from_response
from finetune_operator.cluster.protocol import Raw

TIMEOUT = aiohttp.ClientTimeout(total=30, connect=10)
"""No call of ours is long; a connection that died silently must not hold a pass for ever."""
CHUNK = 500
"""Objects in one answer of a list of all."""
JSON = "application/json"
METADATA_LIST = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
Chunk = tuple[str, list[Raw]]
"""(resource version at which all chunks of a list are true, metadata of some objects)."""
Asked = Callable[[str, str, int], None]
"""Told of every call: its verb, its resource, and the HTTP status of the answer; 0 where there was none."""


class Api:
    """See the module.

    Attributes:
        clock: the API server's, by its answers.
    """

    def __init__(self, client: ApiClient, asked: Asked) -> None:
        self._client = client
        self._asked = asked
        self.clock = ServerClock()

    async def get(self, kind: str, namespace: str, name: str) -> Raw | None:
        """An object; None where there is none."""
        try:
            return await self.request("GET", paths.of(kind, namespace, name))
        except NotFound:
            return None

    async def items(
        self, kind: str, namespace: str | None, selector: str | None = None, *, accept: str = JSON
    ) -> tuple[Raw, ...]:
        """The objects of a namespace, or of all."""
        query = [("labelSelector", selector)] if selector is not None else []
        answer = await self.request("GET", paths.of(kind, namespace), query=query, headers={"Accept": accept})
        return tuple(answer["items"] or ())  # an empty list of metadata comes as null

    async def metadata(self, kind: str, namespace: str | None, selector: str = "") -> AsyncIterator[Chunk]:
        """The same objects' metadata: ten thousand in one answer would be kept in memory at once."""
        following: str | None = ""
        while following is not None:
            asked = {"limit": str(CHUNK), "labelSelector": selector, "continue": following}
            answer = await self.request(
                "GET",
                paths.of(kind, namespace),
                query=[(name, value) for name, value in asked.items() if value],
                headers={"Accept": METADATA_LIST},
            )
            about = answer.get("metadata", {})
            yield str(about.get("resourceVersion", "")), [item["metadata"] for item in answer["items"] or ()]
            following = about.get("continue") or None

    async def patch(
        self, path: str, *, query: Sequence[tuple[str, str]], headers: Mapping[str, str], body: Raw | list[Raw]
    ) -> Raw:
        """Asked once more on a conflict, which may be of that moment alone: a pass that is begun anew begins with its
        first write, and may never come to its last."""
        try:
            return await self.request("PATCH", path, query=query, headers=headers, body=body)
        except Conflict:
            return await self.request("PATCH", path, query=query, headers=headers, body=body)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: Raw | list[Raw] | None = None,
    ) -> Raw:
        """One call; every way in which it can fail becomes a `ClusterError`."""
        try:
            said = {"Accept": JSON, "Content-Type": JSON, "User-Agent": names.FIELD_MANAGER, **(headers or {})}
            await self._client.update_params_for_auth(said, None, ["BearerToken"], path, method, None)
            # Not by the generated `param_serialize`: it walks each body to turn models into what ours are already.
            response = await self._client.rest_client.request(  # type: ignore[no-untyped-call]  # generated, half typed
                method,
                f"{self._client.configuration.host}{path}" + (f"?{urlencode(query)}" if query else ""),
                headers=said,
                body=body,
                _request_timeout=TIMEOUT,
            )
            payload: bytes = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._asked(*paths.words(method, path), 0)
            raise ClusterError(f"{method} {path}: {error or type(error).__name__}") from error
        self.clock.heard(response.headers.get("Date"))
        self._asked(*paths.words(method, path), response.status)
        if response.status >= 400:
            raise from_response(response.status, payload, response.headers, f"{method} {path}")
        answer: Raw = json.loads(payload)
        return answer
