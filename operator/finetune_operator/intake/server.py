"""HTTP: POST /v1/namespaces/{namespace}/jobs/{name}/progress, and every refusal as {"error": words}."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from finetune_operator import names
from finetune_operator.cluster import Cluster, ClusterError
from finetune_operator.intake.doorkeeper import Doorkeeper, bearer
from finetune_operator.intake.protocol import from_kubeflow
from finetune_operator.intake.store import ProgressStore
from finetune_operator.names import Key
from finetune_operator.observe import Posted
from finetune_trainer.records import Progress

logger = logging.getLogger(__name__)

BODY_LIMIT = 64 * 1024
BODY_SECONDS = 10.0
KEPT_HEADERS = ("WWW-Authenticate", "Allow", "Retry-After")
PATH = "/v1/namespaces/{namespace}/jobs/{name}/progress"


def app(  # noqa: PLR0913 - two of them are clocks, for tests
    cluster: Cluster,
    store: ProgressStore,
    accepted: Callable[[Key], None],
    answered: Callable[[int], None],
    *,
    clock: Callable[[], float] = time.time,
    steady: Callable[[], float] = time.monotonic,
) -> web.Application:
    """The intake's server.

    Args:
        cluster: Where jobs, pods and tokens are looked up.
        store: Where accepted posts go.
        accepted: Told of each job that has a new post.
        answered: Told of every answer's HTTP status.
        clock: Unix seconds.
        steady: Seconds that never go back.
    """
    doorkeeper = Doorkeeper(cluster, steady)

    async def post(request: web.Request) -> web.Response:
        key = Key(request.match_info["namespace"], request.match_info["name"])
        if not (names.is_name(key.namespace) and names.is_name(key.name)):
            raise web.HTTPNotFound(text="there is no such job")
        speaker = await doorkeeper.speaker(bearer(request), key, request.remote or "")
        if speaker.namespace != key.namespace:
            raise web.HTTPForbidden(text=f"a pod of namespace {speaker.namespace} can't speak for job {key}")
        job = await cluster.job(key)
        if job is None:
            raise web.HTTPNotFound(text=f"there is no job {key}")
        uid = job["metadata"]["uid"]
        attempt = await doorkeeper.attempt(speaker, key, uid)
        _refuse_ended(key, job)
        progress = await _progress(request, now=clock())
        if not store.put(key, Posted(job_uid=uid, attempt=attempt, progress=progress)):
            raise web.HTTPForbidden(text=f"a newer attempt of job {key} runs than attempt {attempt}")
        accepted(key)
        return web.json_response({})

    application = web.Application(client_max_size=BODY_LIMIT, middlewares=[_counted(answered), _in_words])
    application.router.add_post(PATH, post)
    return application


def _refuse_ended(key: Key, job: dict[str, Any]) -> None:
    """A job that is going is gone (410), one that has ended takes no more progress (409)."""
    if "deletionTimestamp" in job["metadata"]:
        raise web.HTTPGone(text=f"job {key} is being deleted")
    for condition in job.get("status", {}).get("conditions", []):
        if condition["type"] == names.SUCCEEDED and condition["status"] in {"True", "False"}:
            raise web.HTTPConflict(text=f"job {key} has ended: {condition.get('reason', '')}")


async def _progress(request: web.Request, *, now: float) -> Progress:
    """The body, within its limits of size (by aiohttp) and time."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            text = await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the body did not arrive within {BODY_SECONDS:.0f} s") from None
    try:
        return from_kubeflow(json.loads(text), now=now)
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"the body is not in Kubeflow's status protocol: {error}") from None


@web.middleware
async def _in_words(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error as {"error": ...}, in words."""
    try:
        return await handler(request)
    except ClusterError as error:
        logger.warning("a post could not be checked: %s", error)
        words = "the cluster's API server did not answer; post again later"
        return web.json_response({"error": words}, status=503, headers={"Retry-After": "5"})
    except web.HTTPException as error:
        kept = {name: error.headers[name] for name in KEPT_HEADERS if name in error.headers}
        return web.json_response({"error": error.text or error.reason}, status=error.status, headers=kept)


def _counted(answered: Callable[[int], None]) -> Middleware:
    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        answered(response.status)
        return response

    return count
