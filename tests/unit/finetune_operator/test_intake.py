"""Who may report progress, what is taken, and what is said to the others; over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer
from tests.stories.fake_cluster import FakeCluster
from tests.stories.story import Story, job
from yarl import URL as URL_OF

from finetune_operator import intake, names
from finetune_operator.cluster import ClusterError, Speaker
from finetune_operator.intake import doorkeeper, pace
from finetune_operator.intake.protocol import from_kubeflow
from finetune_operator.names import Key
from finetune_operator.observe import Posted
from finetune_trainer.records import Progress, to_kubeflow

KEY = Key("default", "demo")
URL = "/v1/namespaces/default/jobs/demo/progress"
NOW = 1_800_000_000.0
PROGRESS = Progress(
    time=NOW - 1,
    phase="training",
    step=42,
    total_steps=100,
    epoch=1.5,
    loss=0.75,
    learning_rate=1e-5,
    tokens_per_second=1234.5,
    tokens_per_second_per_gpu=617.25,
    mfu=0.4125,
    peak_memory=66_679_996_416,
    remaining_seconds=60,
    checkpoint_step=40,
    checkpoint_path="checkpoint-40",
    checkpoint_time=NOW - 30,
    rows=1000,
    rows_dropped=3,
    rows_truncated=7,
    rows_changed=0,
)


@dataclass
class Scene:
    """A running job, and the intake before it."""

    world: FakeCluster
    story: Story
    client: Any = None
    store: intake.ProgressStore = field(default_factory=intake.ProgressStore)
    accepted: list[Key] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)

    def token(self, pod: str, *, namespace: str = "default", uid: str | None = None) -> str:
        """A token of a pod, as the API server will review it."""
        known = self.world.objects.get(("Pod", namespace, pod))
        found = uid or (known["metadata"]["uid"] if known else "uid-of-nobody")
        self.world.tokens[f"token-of-{pod}-{found}"] = Speaker(namespace=namespace, pod=pod, uid=found)
        return f"token-of-{pod}-{found}"

    async def post(self, token: str | None, body: Any = None, url: str = URL) -> tuple[int, str]:
        """(status, error)."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = await self.client.post(url, json=to_kubeflow(PROGRESS) if body is None else body, headers=headers)
        return answer.status, (await answer.json()).get("error", "")


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    story = Story(job(nodes=2))
    await story.rest()
    found = Scene(world=story.world, story=story)
    app = intake.app(found.world, found.store, found.accepted.append, found.answered.append, clock=lambda: NOW)
    async with TestClient(TestServer(app)) as found.client:
        yield found


async def test_a_post_of_the_jobs_pod_is_kept_whole(scene: Scene) -> None:
    assert await scene.post(scene.token("demo-1-master-0")) == (200, "")
    uid = scene.story.body["metadata"]["uid"]
    assert scene.store.get(KEY) == Posted(job_uid=uid, attempt=1, progress=PROGRESS)
    assert scene.accepted == [KEY]
    assert scene.answered == [200]


@pytest.mark.parametrize("token", [None, "made-up"])
async def test_without_a_valid_token_nobody_is_heard(scene: Scene, token: str | None) -> None:
    status, error = await scene.post(token)
    assert status == 401
    assert "token" in error
    assert scene.store.get(KEY) is None
    assert scene.answered == [401]


async def test_a_pod_of_another_namespace_is_refused_before_anything_is_looked_up(scene: Scene) -> None:
    status, error = await scene.post(scene.token("demo-1-master-0", namespace="other", uid="x"))
    assert (status, error) == (403, "a pod of namespace other can't speak for job default/demo")


async def test_a_token_for_another_job_is_not_valid_here(scene: Scene) -> None:
    token = scene.token("demo-1-master-0")
    scene.world.audiences[token] = names.audience(Key("default", "other"))
    status, error = await scene.post(token)
    assert (status, "audience finetune.dev/intake/default/demo" in error) == (401, True)


@pytest.mark.parametrize("name", ["..%2F..%2Fother%2Ffinetunejobs%2Ftheirs", "demo%2Fstatus", "%2E%2E", "De_mo"])
async def test_a_name_that_is_none_leads_nowhere(scene: Scene, name: str) -> None:
    url = URL_OF(f"http://{scene.client.host}:{scene.client.port}{URL.replace('demo', name)}", encoded=True)
    async with ClientSession() as session:
        answer = await session.post(url, json={}, headers={"Authorization": "Bearer x"})
        assert answer.status == 404
    assert scene.answered == [404]


async def test_a_pod_that_posts_too_often_waits(scene: Scene) -> None:
    token, other = scene.token("demo-1-master-0"), scene.token("demo-1-worker-0")
    answers = [(await scene.post(token))[0] for _ in range(doorkeeper.POSTS_IN_A_BURST + 1)]
    assert answers == [200] * doorkeeper.POSTS_IN_A_BURST + [429]
    answer = await scene.client.post(URL, json={}, headers={"Authorization": f"Bearer {token}"})
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    assert (await scene.post(other))[0] == 200, "another pod is not held up by it"


async def test_made_up_tokens_stop_at_the_door(scene: Scene) -> None:
    tokens = [f"made-up-{number}" for number in range(3 * doorkeeper.REVIEWS_IN_A_BURST)]
    answers = [status for status, _ in await asyncio.gather(*(scene.post(token) for token in tokens))]
    assert set(answers) == {401, 429}
    assert answers.count(401) >= doorkeeper.REVIEWS_IN_A_BURST


def test_a_bucket_is_full_again_after_a_while() -> None:
    now = [100.0]
    bucket = pace.Pace(at_once=2, per_second=0.5, clock=lambda: now[0])
    assert [bucket.wait("a") for _ in range(4)] == [0, 0, 2, 2]
    now[0] += 2
    assert [bucket.wait("a") for _ in range(2)] == [0, 2]
    now[0] += 1000
    assert [bucket.wait("a") for _ in range(3)] == [0, 0, 2], "not fuller than full"


def test_a_bucket_of_somebody_who_came_long_ago_is_forgotten() -> None:
    bucket = pace.Pace(at_once=1, per_second=1.0, clock=lambda: 0.0)
    assert [bucket.wait("a"), bucket.wait("a")] == [0, 1]
    for number in range(pace.REMEMBERED):
        bucket.wait(number)
    assert bucket.wait("a") == 0


async def test_another_pod_of_the_same_namespace_is_refused(scene: Scene) -> None:
    scene.world.put({"kind": "Pod", "metadata": {"name": "stranger", "namespace": "default"}, "status": {}})
    status, error = await scene.post(scene.token("stranger"))
    assert (status, error) == (403, "pod stranger is not a pod of the newest attempt of job default/demo")


async def test_the_right_name_with_another_uid_is_refused(scene: Scene) -> None:
    status, _ = await scene.post(scene.token("demo-1-master-0", uid="uid-of-an-earlier-pod"))
    assert status == 403


async def test_a_pod_of_an_older_attempt_is_refused(scene: Scene) -> None:
    scene.world.grace = True
    old = scene.token("demo-1-master-0")
    jobs = scene.world.objects["PyTorchJob", "default", "demo-1"]
    newer = {**jobs, "metadata": {**jobs["metadata"], "name": "demo-2"}}
    newer["metadata"]["labels"] = {**jobs["metadata"]["labels"], names.LABEL_ATTEMPT: "2"}
    scene.world.put(newer)
    status, _ = await scene.post(old)
    assert status == 403


async def test_an_old_attempt_whose_token_is_remembered_never_overwrites_a_newer_post(scene: Scene) -> None:
    old = scene.token("demo-1-master-0")
    assert (await scene.post(old))[0] == 200
    uid = scene.story.body["metadata"]["uid"]
    newer = Posted(job_uid=uid, attempt=2, progress=PROGRESS)
    scene.store.put(KEY, newer)
    status, error = await scene.post(old)
    assert (status, error) == (403, "a newer attempt of job default/demo runs than attempt 1")
    assert scene.store.get(KEY) == newer


async def test_the_pod_that_prepares_speaks_until_attempt_1_is_there(scene: Scene) -> None:
    labels = {names.LABEL_JOB: "demo", names.LABEL_ROLE: names.ROLE_PREPARE}
    uid = scene.story.body["metadata"]["uid"]
    owner = {"ownerReferences": [{"uid": uid}]}
    scene.world.put({"kind": "Pod", "metadata": {"name": "p", "namespace": "default", "labels": labels, **owner}})
    job_that_prepares = {"name": "demo-prepare", "namespace": "default", "labels": labels, **owner}
    scene.world.put({"kind": "Job", "metadata": job_that_prepares})
    assert (await scene.post(scene.token("p")))[0] == 403
    for name in ("demo-1-master-0", "demo-1-worker-0"):
        del scene.world.objects["Pod", "default", name]
    del scene.world.objects["PyTorchJob", "default", "demo-1"]
    del scene.world.objects["ConfigMap", "default", "demo-1"]
    other = {**labels, names.LABEL_ROLE: names.ROLE_TRAIN}
    scene.world.put({"kind": "Pod", "metadata": {"name": "q", "namespace": "default", "labels": other, **owner}})
    assert (await scene.post(scene.token("q")))[0] == 403
    scene.world.put({"kind": "Pod", "metadata": {"name": "r", "namespace": "default", "labels": labels, **owner}})
    body = to_kubeflow(Progress(time=NOW - 1, phase="fetching", fetched_bytes=5, total_bytes=10))
    assert await scene.post(scene.token("r"), body) == (200, "")
    posted = scene.store.get(KEY)
    assert posted is not None
    assert (posted.attempt, posted.progress.fetched_bytes, posted.progress.percentage) == (0, 5, 50)


async def test_unknown_ended_and_deleted_jobs_take_nothing(scene: Scene) -> None:
    token = scene.token("demo-1-master-0")
    assert await scene.post(token, url=URL.replace("demo", "nosuch")) == (404, "there is no job default/nosuch")
    scene.story.body["status"]["conditions"] = [
        {"type": names.SUCCEEDED, "status": "False", "reason": "Crashed"},
    ]
    assert await scene.post(token) == (409, "job default/demo has ended: Crashed")
    scene.story.body["metadata"]["deletionTimestamp"] = scene.world.stamp()
    assert await scene.post(token) == (410, "job default/demo is being deleted")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([1], "trainerStatus"),
        ({"trainerStatus": 3}, "trainerStatus"),
        ({"trainerStatus": {"metrics": [{"name": "step", "value": "many"}]}}, "step: 'many'"),
        ({"trainerStatus": {"metrics": [{"name": "step", "value": "-1"}]}}, "step: '-1'"),
        ({"trainerStatus": {"metrics": [{"name": "phase", "value": "dancing"}]}}, "'dancing'"),
        ({"trainerStatus": {"metrics": "loss"}}, "trainerStatus.metrics"),
        ({"trainerStatus": {"metrics": [{"name": "checkpoint_path", "value": "/etc"}]}}, "no checkpoint's folder"),
    ],
)
async def test_a_body_of_another_shape_is_a_bad_request(scene: Scene, body: Any, words: str) -> None:
    status, error = await scene.post(scene.token("demo-1-master-0"), body)
    assert status == 400
    assert words in error


async def test_a_body_that_is_no_json_and_one_that_is_too_large(scene: Scene) -> None:
    headers = {"Authorization": f"Bearer {scene.token('demo-1-master-0')}"}
    garbled = await scene.client.post(URL, data=b"{", headers=headers)
    assert garbled.status == 400
    large = await scene.client.post(URL, data=b" " * (64 * 1024 + 1), headers=headers)
    assert (large.status, "error" in await large.json()) == (413, True)


async def test_other_paths_and_verbs_answer_in_json_too(scene: Scene) -> None:
    missing = await scene.client.post("/v2/nothing")
    assert (missing.status, "error" in await missing.json()) == (404, True)
    wrong = await scene.client.get(URL)
    assert (wrong.status, wrong.headers["Allow"]) == (405, "POST")


async def test_a_cluster_that_is_away_is_not_the_pods_fault(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_token: str, _audience: str) -> Speaker | None:
        raise ClusterError("POST tokenreviews: connection refused")

    monkeypatch.setattr(scene.world, "review", away)
    answer = await scene.client.post(URL, json=to_kubeflow(PROGRESS), headers={"Authorization": "Bearer x"})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def test_a_token_is_reviewed_once_a_minute_not_once_a_post(scene: Scene) -> None:
    token = scene.token("demo-1-master-0")
    assert (await scene.post(token))[0] == 200
    scene.world.tokens.clear()
    assert (await scene.post(token))[0] == 200


def test_numbers_come_back_as_they_were_sent() -> None:
    assert from_kubeflow(to_kubeflow(PROGRESS), now=NOW) == PROGRESS


def test_a_diverged_loss_arrives_as_nan() -> None:
    body = {"trainerStatus": {"metrics": [{"name": "loss", "value": "nan"}]}}
    loss = from_kubeflow(body, now=NOW).loss
    assert loss is not None
    assert loss != loss  # noqa: PLR0124 - only nan differs from itself


def test_a_clock_that_runs_ahead_is_set_to_ours_and_what_is_too_much_is_left_out() -> None:
    many = [{"name": f"extra-{number}", "value": "1"} for number in range(1000)]
    body = {
        "trainerStatus": {
            "metrics": [{"name": "time", "value": str(NOW + 3600)}, *many, {"name": "loss", "value": "1"}]
        }
    }
    progress = from_kubeflow(body, now=NOW)
    assert progress.time == NOW
    assert progress.loss is None
