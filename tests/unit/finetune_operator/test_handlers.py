"""kopf against a small API server of our own: which events become which keys, and that nothing is ever written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import kopf
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from finetune_operator import handlers, names
from finetune_operator.names import Key
from finetune_operator.settings import Settings
from finetune_operator.watches import Watches

JOBS, PODS = "finetunejobs", "pods"
GROUPS = {
    f"/apis/{names.GROUP}/{names.VERSION}": (JOBS,),
    f"/apis/{names.PYTORCHJOB_API_VERSION}": (names.PYTORCHJOB_PLURAL,),
    "/api/v1": (PODS, "configmaps", "namespaces", "events"),
    "/apis/apiextensions.k8s.io/v1": ("customresourcedefinitions",),
}


CUT = "CUT"
"""The type of an event that is sent by half, before its watch ends."""


class ApiServer:
    """Discovery, lists and watches; remembers every request."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str]] = []
        """(method, plural, labelSelector)."""
        self.listed: dict[str, list[dict[str, Any]]] = {}
        self.refusals: dict[str, list[int]] = {}
        """How the next watches of a plural are answered, e.g. 410."""
        self._watches: dict[str, asyncio.Queue[dict[str, Any]]] = {}

    def happen(self, plural: str, kind: str, body: dict[str, Any]) -> None:
        """An event for the watch of a plural."""
        self._watch(plural).put_nowait({"type": kind, "object": body})

    def app(self) -> web.Application:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        return application

    def _watch(self, plural: str) -> asyncio.Queue[dict[str, Any]]:
        return self._watches.setdefault(plural, asyncio.Queue())

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path in {"/api", "/apis"}:
            return web.json_response(self._groups(request.path))
        if request.path in GROUPS:
            return web.json_response({"resources": [self._resource(plural) for plural in GROUPS[request.path]]})
        plural = request.path.rpartition("/")[2]
        self.requests.append((request.method, plural, request.query.get("labelSelector", "")))
        if "watch" in request.query and self.refusals.get(plural):
            status = self.refusals[plural].pop(0)
            return web.json_response({"kind": "Status", "code": status, "message": "refused"}, status=status)
        if "watch" in request.query:
            return await self._stream(request, plural)
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": self.listed.get(plural, [])})

    async def _stream(self, request: web.Request, plural: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            event = await self._watch(plural).get()
            line = json.dumps(event).encode() + b"\n"
            if event["type"] == CUT:
                await response.write(line[: len(line) // 2])
                return response
            await response.write(line)

    @staticmethod
    def _groups(path: str) -> dict[str, Any]:
        if path == "/api":
            return {"versions": ["v1"]}
        pairs = [found.removeprefix("/apis/").split("/") for found in GROUPS if found.startswith("/apis/")]
        versions = [(group, {"version": version, "groupVersion": f"{group}/{version}"}) for group, version in pairs]
        return {"groups": [{"name": group, "preferredVersion": one, "versions": [one]} for group, one in versions]}

    @staticmethod
    def _resource(plural: str) -> dict[str, Any]:
        verbs = ["get", "list", "watch", "patch"]
        return {"name": plural, "singularName": plural[:-1], "kind": plural, "namespaced": True, "verbs": verbs}


class Recorder:
    """A program that only remembers what it was told."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[tuple[Key, float | None]] = asyncio.Queue()
        self.resting: dict[Key, str] = {}
        self.written: dict[Key, str] = {}
        self.children: list[tuple[str, str, bool]] = []
        self.is_news = True
        self.statuses: dict[Key, dict[str, Any] | None] = {}
        self.is_inside = False
        self.watches = Watches(600)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        self.is_inside = True
        yield
        self.is_inside = False

    def changed(self, key: Key, seconds: float | None) -> None:
        self.calls.put_nowait((key, seconds))

    def rests(self, key: Key, version: str) -> None:
        self.resting[key] = version

    def saw(self, kind: str, raw: Mapping[str, Any], *, gone: bool, listed: bool) -> bool:
        self.children.append((kind, raw["metadata"]["name"], gone))
        return self.is_news and not listed

    def is_echo(self, key: Key, version: str) -> bool:
        return self.written.get(key) == version

    def told(self, key: Key, status: Mapping[str, Any] | None) -> None:
        self.statuses[key] = None if status is None else dict(status)


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    api = ApiServer()
    async with TestServer(api.app()) as running:
        config = {
            "clusters": [{"name": "c", "cluster": {"server": str(running.make_url("")).rstrip("/")}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config))
        monkeypatch.setenv("KUBECONFIG", str(path))
        yield api


@asynccontextmanager
async def operating(program: Recorder) -> AsyncIterator[None]:
    task = asyncio.create_task(handlers.operate(Settings(), program))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def body(name: str, *, labels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    found = {"name": name, "namespace": "team", "uid": f"uid-{name}", "resourceVersion": "2", "generation": 1}
    return {"metadata": {**found, "labels": labels or {}, **more.pop("metadata", {})}, **more}


def child(name: str, job: str) -> dict[str, Any]:
    return body(name, labels={names.LABEL_JOB: "base"}, metadata={"annotations": {names.ANNOTATION_JOB: job}})


async def test_jobs_that_exist_and_children_that_change_become_keys(server: ApiServer) -> None:
    server.listed[JOBS] = [body("old", status={"state": "Running", "observedGeneration": 1}), body("new")]
    program = Recorder()
    async with operating(program):
        first = {await program.calls.get(), await program.calls.get()}
        assert first == {(Key("team", "old"), handlers.SETTLE_SECONDS), (Key("team", "new"), 0.0)}
        assert program.is_inside
        running = {"state": "Running", "observedGeneration": 1}
        assert program.statuses == {Key("team", "old"): running, Key("team", "new"): {}}
        server.happen(PODS, "MODIFIED", child("pod-1", "a.long.name"))
        assert await program.calls.get() == (Key("team", "a.long.name"), handlers.SETTLE_SECONDS)
        server.happen(JOBS, "DELETED", body("old"))
        assert await program.calls.get() == (Key("team", "old"), 0.0)
        assert program.statuses[Key("team", "old")] is None


async def test_only_our_children_are_watched_and_nothing_is_written(server: ApiServer) -> None:
    server.listed[JOBS] = [body("new")]
    program = Recorder()
    async with operating(program):
        await program.calls.get()
        for plural in (PODS, "configmaps", names.PYTORCHJOB_PLURAL):
            server.happen(plural, "ADDED", child(f"of-{plural}", f"job-of-{plural}"))
        seen = {(await program.calls.get())[0].name for _ in range(3)}
    assert seen == {f"job-of-{plural}" for plural in (PODS, "configmaps", names.PYTORCHJOB_PLURAL)}
    assert {method for method, _, _ in server.requests} == {"GET"}
    selectors = {plural: selector for _, plural, selector in server.requests}
    assert selectors[PODS] == selectors["configmaps"] == selectors[names.PYTORCHJOB_PLURAL] == names.LABEL_JOB
    assert selectors[JOBS] == ""


async def test_what_rests_waits_and_an_echo_of_our_own_write_wakes_nobody(server: ApiServer) -> None:
    over = {"state": "Succeeded", "observedGeneration": 1, "completionTime": "2026-01-01T00:00:00Z"}
    server.listed[JOBS] = [body("over", status=over)]
    server.listed[PODS] = [child("pod-0", "over")]
    program = Recorder()
    program.written[Key("team", "ours")] = "2"
    async with operating(program):
        assert await program.calls.get() == (Key("team", "over"), None)
        assert program.resting == {Key("team", "over"): "2"}
        server.happen(JOBS, "MODIFIED", body("ours", status={"state": "Running", "observedGeneration": 1}))
        server.happen(JOBS, "MODIFIED", body("edited", status={"observedGeneration": 1}, metadata={"generation": 2}))
        assert await program.calls.get() == (Key("team", "edited"), 0.0)
        program.is_news = False
        server.happen(PODS, "MODIFIED", child("pod-1", "over"))
        server.happen(PODS, "DELETED", child("pod-2", "over"))
        server.happen(JOBS, "MODIFIED", body("over", status=over))
        assert await program.calls.get() == (Key("team", "over"), handlers.SETTLE_SECONDS)
        await asyncio.sleep(0)
    assert program.calls.empty()
    assert ("Pod", "pod-0", False) in program.children


async def test_kopf_keeps_nothing_of_an_object() -> None:
    settings = handlers.kopf_settings(Settings())
    raw = body("a", spec={"training": {}})
    assert settings.persistence.diffbase_storage.build(body=kopf.Body(raw)) == {}
    memories = handlers._NoMemories()
    first = await memories.recall(raw)
    assert await memories.recall(raw) is not first
    assert list(memories.iter_all_memories()) == []


async def test_a_watch_that_ends_within_a_line_is_begun_again(server: ApiServer) -> None:
    program = Recorder()
    async with operating(program):
        server.happen(PODS, CUT, child("pod-0", "first"))
        server.happen(PODS, "MODIFIED", child("pod-1", "late"))
        assert (await program.calls.get())[0] == Key("team", "late")
        assert program.is_inside


async def test_a_watch_that_is_answered_410_lists_anew_and_one_that_is_answered_500_is_asked_again(
    server: ApiServer,
) -> None:
    server.refusals = {PODS: [500, 410, 503]}
    program = Recorder()
    async with operating(program):
        server.happen(PODS, "MODIFIED", child("pod-1", "late"))
        assert (await program.calls.get())[0] == Key("team", "late")
        assert program.is_inside
    of_pods = [request for request in server.requests if request[1] == PODS]
    assert len(of_pods) == 6, "list, watch (500), watch (410), list, watch (503), watch"
