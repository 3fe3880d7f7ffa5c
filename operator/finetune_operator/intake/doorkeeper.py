"""Who may speak for a job: the token's pod, checked against the job's children, remembered for a while."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from aiohttp import web

from finetune_operator import names, observe
from finetune_operator.cluster import Cluster, Speaker
from finetune_operator.intake.pace import Pace
from finetune_operator.names import Key

REMEMBER_SECONDS = 60.0
REMEMBER_ANSWERS = 4096
REVIEWS_AT_ONCE = 8
"""Made-up tokens cost a TokenReview each: they must not take the API server from the passes."""
REVIEWS_IN_A_BURST, REVIEWS_PER_SECOND = 200, 20.0
"""New tokens of one address: a node, or a whole cluster behind one address, may start many jobs at a time."""
POSTS_IN_A_BURST, POSTS_PER_SECOND = 20, 1.0
"""Of one pod; the supervisor posts every five seconds at most."""

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Answers that hold for a while: `REMEMBER_SECONDS`, and never more than `REMEMBER_ANSWERS`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answers: OrderedDict[K, tuple[float, V]] = OrderedDict()

    async def get(self, key: K, find: Callable[[], Awaitable[V]]) -> V:
        """What was found lately, else what `find` finds now. An error of `find` is not remembered."""
        until, value = self._answers.get(key, (0.0, None))
        if value is not None and until > self._clock():
            return value
        value = await find()
        self._answers[key] = (self._clock() + REMEMBER_SECONDS, value)
        self._answers.move_to_end(key)
        while len(self._answers) > REMEMBER_ANSWERS:
            self._answers.popitem(last=False)
        return value


class Doorkeeper:
    """Decides who may speak for a job."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._speakers: Recent[bytes, tuple[Speaker | None]] = Recent(clock)
        self._attempts: Recent[tuple[Speaker, Key, str], int] = Recent(clock)
        self._reviews = asyncio.Semaphore(REVIEWS_AT_ONCE)
        self._new_tokens = Pace(at_once=REVIEWS_IN_A_BURST, per_second=REVIEWS_PER_SECOND, clock=clock)
        self._posts = Pace(at_once=POSTS_IN_A_BURST, per_second=POSTS_PER_SECOND, clock=clock)

    async def speaker(self, token: str, key: Key, address: str) -> Speaker:
        """The pod that a token for this job was made for; remembered by the hash of both, bad tokens too.

        Raises:
            web.HTTPUnauthorized: the token is not valid, or not for us and this job.
            web.HTTPTooManyRequests: this pod, or this address with new tokens, comes too often.
        """
        audience = names.audience(key)
        digest = hashlib.sha256(f"{audience} {token}".encode()).digest()
        (speaker,) = await self._speakers.get(digest, lambda: self._review(token, audience, address))
        if speaker is None:
            raise _unauthorized(f"the token is not valid for the audience {audience}, or is not a pod's")
        _unless_too_often(self._posts.wait(speaker), f"pod {speaker.pod} posts")
        return speaker

    async def attempt(self, speaker: Speaker, key: Key, job_uid: str) -> int:
        """The attempt that the speaker belongs to; 0: it prepares the job.

        Raises:
            web.HTTPForbidden: it is no pod of the job's newest attempt, nor of its preparation.
        """
        return await self._attempts.get((speaker, key, job_uid), lambda: self._newest_attempt(speaker, key, job_uid))

    async def _review(self, token: str, audience: str, address: str) -> tuple[Speaker | None]:
        _unless_too_often(self._new_tokens.wait(address), f"{address} comes with new tokens")
        async with self._reviews:
            return (await self._cluster.review(token, audience),)

    async def _newest_attempt(self, speaker: Speaker, key: Key, job_uid: str) -> int:
        observed = observe.of(await self._cluster.children(key, (), live=True), uid=job_uid)
        newest = observed.attempts[-1] if observed.attempts else None
        prepares = observed.prepare.pods if observed.prepare is not None else frozenset()
        if newest is None and (speaker.pod, speaker.uid) in prepares:
            return 0
        if newest is None or (speaker.pod, speaker.uid) not in {(pod.name, pod.uid) for pod in newest.pods}:
            raise web.HTTPForbidden(text=f"pod {speaker.pod} is not a pod of the newest attempt of job {key}")
        return newest.number


def bearer(request: web.Request) -> str:
    """The token of a request.

    Raises:
        web.HTTPUnauthorized: there is none.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _unauthorized("send the pod's token as `Authorization: Bearer <token>`")
    return token.strip()


def _unless_too_often(seconds: int, who: str) -> None:
    """Raises web.HTTPTooManyRequests, where there is something to wait for."""
    if seconds:
        headers = {"Retry-After": str(seconds)}
        raise web.HTTPTooManyRequests(text=f"{who} too often; again in {seconds} s", headers=headers)


def _unauthorized(text: str) -> web.HTTPUnauthorized:
    return web.HTTPUnauthorized(text=text, headers={"WWW-Authenticate": "Bearer"})
