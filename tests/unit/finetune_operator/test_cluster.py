"""The real client against a small HTTP server: what is sent, and how answers become our errors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from finetune_operator import names
from finetune_operator.cluster import ClusterError, ClusterRefused, NotFound, Speaker, WebhookUnavailable, paths
from finetune_operator.cluster.client import POD_NAME, POD_UID, KubernetesCluster, speaker
from finetune_operator.cluster.errors import Conflict
from finetune_operator.names import Key

KEY = Key("team", "a.long.name")
JOB_PATH = "/apis/finetune.dev/v1alpha1/namespaces/team/finetunejobs/a.long.name"
JOB = {"metadata": {"name": KEY.name, "namespace": KEY.namespace, "uid": "u"}}
MANIFEST = {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": {"name": "x-1", "namespace": "team"}}
APPLY_PATH = "/apis/kubeflow.org/v1/namespaces/team/pytorchjobs/x-1"


class Server:
    """Answers as told, by method and path; an empty list for everything else."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        self.first: dict[tuple[str, str], tuple[int, Any]] = {}
        """What is answered once, before that."""
        self.seen: list[tuple[str, str, dict[str, str], str, Any]] = []
        """(method, path, query, content type, body)."""

    async def answer(self, request: web.Request) -> web.Response:
        text = await request.text()
        kind = request.headers.get("Content-Type", "")
        self.seen.append((request.method, request.path, dict(request.query), kind, json.loads(text) if text else None))
        asked = request.method, request.path
        status, body = self.first.pop(asked, None) or self.answers.get(asked, (200, {"items": None}))
        return web.json_response(body, status=status, headers={"Retry-After": "7"} if status == 429 else {})


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def cluster(server: Server) -> AsyncIterator[KubernetesCluster]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    running = TestServer(application)
    await running.start_server()
    async with running, ApiClient(Configuration(host=str(running.make_url("")).rstrip("/"))) as api:
        yield KubernetesCluster(api)


async def test_an_apply_is_by_force_and_in_our_name(server: Server, cluster: KubernetesCluster) -> None:
    await cluster.apply(MANIFEST)
    query = {"fieldManager": "finetune-operator", "force": "true"}
    assert server.seen == [("PATCH", APPLY_PATH, query, "application/apply-patch+yaml", MANIFEST)]


async def test_a_conflict_of_a_moment_is_asked_again_once(server: Server, cluster: KubernetesCluster) -> None:
    server.first["PATCH", APPLY_PATH] = (409, {"kind": "Status", "message": "please apply your changes again"})
    await cluster.apply(MANIFEST)
    assert [method for method, *_ in server.seen] == ["PATCH", "PATCH"]


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (422, "metadata.name: must be DNS-1035", ClusterRefused),
        (403, "exceeded quota: gpus", ClusterRefused),
        (400, "unknown field", ClusterRefused),
        (404, "the server could not find the requested resource", NotFound),
        (429, "too many requests", ClusterError),
        (500, 'failed calling webhook "validator": connection refused', WebhookUnavailable),
        (409, "the object has been modified", Conflict),
    ],
)
async def test_what_an_answer_means(
    server: Server, cluster: KubernetesCluster, status: int, message: str, kind: type[ClusterError]
) -> None:
    server.answers["PATCH", APPLY_PATH] = (status, {"kind": "Status", "message": message})
    with pytest.raises(ClusterError) as caught:
        await cluster.apply(MANIFEST)
    assert type(caught.value) is kind
    assert str(caught.value) == f"PATCH {APPLY_PATH}: {message}"
    assert caught.value.retry_after == (7.0 if status == 429 else None)


async def test_the_same_failure_is_told_in_the_same_words(server: Server, cluster: KubernetesCluster) -> None:
    told = set()
    for port in (51234, 51235):
        message = f"failed calling webhook: read tcp 10.0.0.1:{port}->10.0.0.2:443: connection reset by peer"
        server.answers["PATCH", APPLY_PATH] = (500, {"kind": "Status", "message": message})
        with pytest.raises(WebhookUnavailable) as caught:
            await cluster.apply(MANIFEST)
        told.add(str(caught.value))
    assert len(told) == 1
    assert "10.0.0.1->10.0.0.2:443" in told.pop()


async def test_the_newest_warning_about_an_object(server: Server, cluster: KubernetesCluster) -> None:
    path = "/api/v1/namespaces/team/events"
    events = [{"message": "old", "lastTimestamp": "2026-01-01T00:00:00Z"}, {"message": "none"}]
    events.append({"message": "new", "lastTimestamp": "2026-01-01T00:00:01Z"})
    server.answers["GET", path] = (200, {"items": events})
    assert await cluster.warning("team", "uid-1", "FailedCreatePod") == "new"
    assert server.seen[0][2] == {"fieldSelector": "involvedObject.uid=uid-1,type=Warning,reason=FailedCreatePod"}


async def test_the_time_is_the_api_servers(server: Server, cluster: KubernetesCluster) -> None:
    await cluster.now()
    assert [(method, path) for method, path, *_ in server.seen] == [("GET", "/version")]
    await cluster.now()
    assert len(server.seen) == 1, "an answer has told the time"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", paths.of("PyTorchJob", "team", "x-1"), ("get", "pytorchjobs")),
        ("GET", paths.of("ConfigMap", "team"), ("list", "configmaps")),
        ("GET", paths.of(names.KIND, None), ("list", "finetunejobs")),
        ("PATCH", JOB_PATH + "/status", ("patch", "finetunejobs/status")),
        ("POST", paths.of("Event", "team"), ("create", "events")),
        ("POST", paths.TOKEN_REVIEWS, ("create", "tokenreviews")),
        ("DELETE", paths.of("Pod", "team", "x-1-master-0"), ("delete", "pods")),
    ],
)
def test_a_call_in_the_words_of_rbac(method: str, path: str, expected: tuple[str, str]) -> None:
    assert paths.words(method, path) == expected


async def test_a_server_that_is_not_there_is_an_error_of_ours() -> None:
    async with ApiClient(Configuration(host="http://127.0.0.1:1")) as api:
        with pytest.raises(ClusterError, match="GET /apis"):
            await KubernetesCluster(api).job(KEY)


async def test_children_are_found_by_label_and_empty_lists_may_be_null(
    server: Server, cluster: KubernetesCluster
) -> None:
    server.answers["GET", "/api/v1/namespaces/team/persistentvolumeclaims/runs"] = (200, {"spec": {}})
    server.answers["GET", "/api/v1/namespaces/team/persistentvolumeclaims/none"] = (404, {"message": "not found"})
    children = await cluster.children(KEY, iter(("runs", "none")))
    assert (children.configmaps, children.jobs, children.pytorchjobs, children.pods) == ((), (), (), ())
    assert children.claims == {"runs": {"spec": {}}, "none": None}
    selectors = [query["labelSelector"] for _, path, query, _, _ in server.seen if "claims" not in path]
    assert selectors == [f"{names.LABEL_JOB} in ({names.base_name(KEY.name)})"] * 4


async def test_several_jobs_are_read_by_one_list_of_each_kind(server: Server, cluster: KubernetesCluster) -> None:
    jobs = [Key("team", "a"), Key("team", "b"), Key("other", "a")]
    pod = {"metadata": {"namespace": "team", "name": "p", "resourceVersion": "8", "labels": {names.LABEL_JOB: "b"}}}
    server.answers["GET", "/api/v1/namespaces/team/pods"] = (200, {"items": [pod]})
    await cluster.look_ahead(jobs)
    selectors = [query["labelSelector"] for _, path, query, *_ in server.seen if path.endswith("pods")]
    assert selectors == [f"{names.LABEL_JOB} in (a,b)", f"{names.LABEL_JOB} in (a)"]
    before = len(server.seen)
    known = [await cluster.children(key, ()) for key in jobs]
    assert [[raw["metadata"]["name"] for raw in children.pods] for children in known] == [[], ["p"], []]
    assert len(server.seen) == before


async def test_jobs_of_all_namespaces_or_of_those_we_serve(server: Server, cluster: KubernetesCluster) -> None:
    items = [{"metadata": {"namespace": "team", "name": "a", "resourceVersion": "7"}}]
    server.answers["GET", "/apis/finetune.dev/v1alpha1/finetunejobs"] = (200, {"items": items})
    assert await cluster.jobs() == [(Key("team", "a"), "7")]
    assert await cluster.job(Key("team", "b")) == {"items": None}
    server.answers["GET", JOB_PATH] = (404, {})
    assert await cluster.job(KEY) is None


async def test_children_that_no_watch_has_told_of_are_found_when_all_are_compared(
    server: Server, cluster: KubernetesCluster
) -> None:
    def read() -> list[str]:
        return [path for _, path, query, *_ in server.seen if " in " in query.get("labelSelector", "")]

    await cluster.compare()
    await cluster.children(KEY, ())
    assert read() == [], "nobody has children, so that a new job has none"
    labelled = {**MANIFEST, "metadata": {"name": "x-1", "namespace": "team", "labels": {names.LABEL_JOB: "other"}}}
    server.answers["PATCH", APPLY_PATH] = (200, labelled)
    await cluster.apply(labelled)
    pod: dict[str, Any] = {"namespace": "team", "name": "p", "resourceVersion": "8"}
    pod["labels"] = {names.LABEL_JOB: names.base_name(KEY.name)}
    listed = {"metadata": {"resourceVersion": "9"}, "items": [{"metadata": pod}]}
    server.first["GET", "/api/v1/pods"] = (200, {"metadata": {"continue": "more"}, "items": None})
    server.answers["GET", "/api/v1/pods"] = (200, listed)
    await cluster.compare()
    followed = [query.get("continue") for _, path, query, *_ in server.seen if path == "/api/v1/pods"]
    assert followed[-2:] == [None, "more"]
    await cluster.children(KEY, ())
    assert len(read()) == 4


async def test_a_delete_is_in_the_background_and_forgives_what_is_gone(
    server: Server, cluster: KubernetesCluster
) -> None:
    path = "/api/v1/namespaces/team/pods/x"
    server.answers["DELETE", path] = (404, {"message": "not found"})
    await cluster.delete("Pod", "team", "x")
    conflict = "Precondition failed: UID in precondition: a, UID in object meta: b"
    server.answers["DELETE", path] = (409, {"message": conflict})
    await cluster.delete("Pod", "team", "x", uid="a")
    bodies = [body for *_, body in server.seen]
    assert [body["propagationPolicy"] for body in bodies] == ["Background", "Background"]
    assert bodies[1]["preconditions"] == {"uid": "a"}
    server.answers["DELETE", path] = (500, {"message": "etcd is away"})
    with pytest.raises(ClusterError, match="etcd is away"):
        await cluster.delete("Pod", "team", "x", uid="a")


async def test_status_is_replaced_as_a_whole_and_only_over_the_version_that_was_read(
    server: Server, cluster: KubernetesCluster
) -> None:
    await cluster.write_status(KEY, {"state": "Running"}, "17")
    ((method, path, _, kind, patch),) = server.seen
    assert (method, path, kind) == ("PATCH", f"{JOB_PATH}/status", "application/json-patch+json")
    assert patch == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "17"},
        {"op": "add", "path": "/status", "value": {"state": "Running"}},
    ]


async def test_a_lost_event_is_no_error(server: Server, cluster: KubernetesCluster) -> None:
    server.answers["POST", "/api/v1/namespaces/team/events"] = (403, {"message": "forbidden"})
    await cluster.event(JOB, "AttemptFailed", "x" * 5000, "Warning", once="attempt 1 ended")
    body = server.seen[-1][-1]
    assert (body["involvedObject"]["uid"], body["type"], len(body["message"])) == ("u", "Warning", 1024)


async def test_an_event_that_was_told_is_refused_by_its_name(server: Server, cluster: KubernetesCluster) -> None:
    names_of = []
    for once in ("attempt 1 ended", "attempt 1 ended", "attempt 2 ended"):
        await cluster.event(JOB, "Crashed", "a rank died", "Warning", once=once)
        names_of.append(server.seen[-1][-1]["metadata"]["name"])
    assert names_of[0] == names_of[1] != names_of[2]


@pytest.mark.parametrize(
    "name", ["../../other/persistentvolumeclaims/theirs", "..", "a/status", "a%2Fb", "A", "", "a" * 254]
)
async def test_a_name_that_would_lead_elsewhere_is_never_asked_for(
    server: Server, cluster: KubernetesCluster, name: str
) -> None:
    found = await cluster.children(KEY, [name])
    assert found.claims == {name: None}
    assert await cluster.job(Key("team", name)) is None
    assert not [path for _, path, *_ in server.seen if "persistentvolumeclaims" in path or "finetunejobs" in path]


AUDIENCE = names.audience(KEY)


def review(**changes: Any) -> dict[str, Any]:
    user = {
        "username": "system:serviceaccount:team:default",
        "extra": {POD_NAME: ["x-1-master-0"], POD_UID: ["pod-uid"]},
    }
    valid = {"authenticated": True, "audiences": [AUDIENCE]}
    return {**valid, **changes, "user": {**user, **changes.get("user", {})}}


def test_a_pods_token_names_the_pod() -> None:
    assert speaker(review(), AUDIENCE) == Speaker(namespace="team", pod="x-1-master-0", uid="pod-uid")


@pytest.mark.parametrize(
    "status",
    [
        {},
        review(authenticated=False),
        review(audiences=["https://kubernetes.default.svc"]),
        review(audiences=[]),
        review(audiences=[names.audience(Key("team", "another"))]),
        review(user={"extra": {}}),
        review(user={"username": "someone"}),
        review(user={"username": "system:node:node-a"}),
    ],
)
def test_any_other_token_is_nobodys(status: dict[str, Any]) -> None:
    assert speaker(status, AUDIENCE) is None
