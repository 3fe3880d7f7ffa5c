"""What Events say of an object; asked at a pace.

The API server keeps no Events in memory: each question reads all of a namespace from etcd, and a thousand jobs whose
pods are being made would ask it hundreds of times a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from finetune_operator.cluster import paths
from finetune_operator.cluster.protocol import Raw
from finetune_operator.cluster.queues import Request

PAUSE_SECONDS = 0.5
"""Between two questions, whatever they are about."""


class Warnings:
    """The newest Warning of an object.

    Args:
        request: a call of the API server.
        clock: seconds on a clock that never goes back.
    """

    def __init__(self, request: Request, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._request, self._clock = request, clock
        self._due = clock()
        self._known: dict[str, str] = {}

    async def newest(self, namespace: str, uid: str, reason: str) -> str:
        """Its message; "" where there is none. Between two questions the last answer about the object stands."""
        if self._clock() >= self._due:
            self._due = self._clock() + PAUSE_SECONDS
            message = await self._ask(namespace, uid, reason)
            self._known.pop(uid, None)
            if message:
                self._known[uid] = message
        return self._known.get(uid, "")

    async def _ask(self, namespace: str, uid: str, reason: str) -> str:
        fields = f"involvedObject.uid={uid},type=Warning,reason={reason}"
        answer = await self._request("GET", paths.of("Event", namespace), query=[("fieldSelector", fields)])
        found: list[Raw] = answer["items"] or []
        found.sort(key=lambda one: str(one.get("lastTimestamp") or ""))
        return str(found[-1].get("message", "")) if found else ""
