"""docs/lifecycle.md: what becomes of an edit of the manifest while its job runs."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from tests.stories.story import Story, job, nothing

from finetune_trainer.records import RunSpec

BACKOFF = 20


async def running() -> Story:
    story = Story(job(nodes=2))
    await story.then(nothing, state="Starting")
    await story.then(lambda world: world.run(), state="Running")
    return story


async def fails(story: Story) -> None:
    """Attempt 1 does, and attempt 2 starts."""
    lost = story.outcome("failed", "CudaError", attempt=1, node_rank=1)
    await story.then(lambda world: world.end("demo-1-worker-0", lost, exit_code=1), state="Restarting")
    await story.then(lambda world: world.advance(BACKOFF), state="Starting", pytorchjobs=["demo-2"])


def seen(story: Story, attempt: int) -> tuple[dict[str, Any], RunSpec]:
    """(the pod's spec of an attempt's worker, run.json as its ranks see it)."""
    pytorchjob = story.world.objects["PyTorchJob", "default", f"demo-{attempt}"]
    pod = pytorchjob["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
    environment = {one["name"]: one["value"] for one in pod["containers"][0]["env"] if "value" in one}
    frozen = story.world.objects["ConfigMap", "default", "demo-config"]["data"]["run.json"]
    return pod, RunSpec.of_attempt(frozen, environment)


NEXT: dict[str, tuple[dict[str, Any], Any]] = {
    "resources": ({"resources": {"memory": "9Gi"}}, lambda pod, run: "9Gi" in json.dumps(pod)),
    "scheduling": (
        {"scheduling": {"nodeSelector": {"zone": "b"}}},
        lambda pod, run: pod["nodeSelector"]["zone"] == "b",
    ),
    "env": ({"env": [{"name": "COLOUR", "value": "blue"}]}, lambda pod, run: "COLOUR" in json.dumps(pod)),
    "podTemplate": (
        {"podTemplate": {"spec": {"schedulerName": "packing"}}},
        lambda pod, run: pod["schedulerName"] == "packing",
    ),
    "hangTimeoutSeconds": ({"runPolicy": {"hangTimeoutSeconds": 77}}, lambda pod, run: run.hang_timeout_seconds == 77),
    "checkpointSeconds": ({"runPolicy": {"checkpointSeconds": 660}}, lambda pod, run: run.checkpoint_seconds == 660),
    "terminationGracePeriodSeconds": (
        {"runPolicy": {"terminationGracePeriodSeconds": 90}},
        lambda pod, run: pod["terminationGracePeriodSeconds"] == run.grace_seconds == 90,
    ),
}


@pytest.mark.parametrize("name", NEXT)
async def test_it_takes_effect_with_the_next_attempt(name: str) -> None:
    change, holds = NEXT[name]
    story = await running()
    before = seen(story, 1)
    await story.then(story.lay_over(**change), state="Running", attempt=1, Accepted="True/Accepted")
    assert seen(story, 1) == before
    await fails(story)
    assert holds(*seen(story, 2))


FROZEN: dict[str, dict[str, Any]] = {
    "model": {"model": {"uri": "/models/other"}},
    "datasets": {"datasets": [{"name": "other"}]},
    "training": {"training": {"learning_rate": 1.0e-6}},
    "image": {"image": {"tag": "of-today"}},
    "output": {"storage": {"output": {"claimName": "others"}}},
}


@pytest.mark.parametrize("name", FROZEN)
async def test_what_is_trained_stays_as_it_was_frozen_and_status_says_so(name: str) -> None:
    story = await running()
    frozen = copy.deepcopy(story.world.objects["ConfigMap", "default", "demo-config"]["data"])
    await story.then(story.lay_over(**FROZEN[name]), state="Running", attempt=1, Accepted="True/ChangeIgnored")
    await fails(story)
    assert story.world.objects["ConfigMap", "default", "demo-config"]["data"] == frozen


REFUSED: dict[str, dict[str, Any]] = {
    "a folder of the node": {"podTemplate": {"spec": {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}}},
    "privilege": {"podTemplate": {"spec": {"hostNetwork": True}}},
    "another account": {"podTemplate": {"spec": {"serviceAccountName": "admin"}}},
    "a secret in plain sight": {"env": [{"name": "HF_TOKEN", "value": "hf_x"}]},
    "a field of ours": {"podTemplate": {"spec": {"hostname": "trainer"}}},
}


@pytest.mark.parametrize("name", REFUSED)
async def test_an_edit_brings_nothing_past_the_door(name: str) -> None:
    story = await running()
    await story.then(story.lay_over(**REFUSED[name]), state="Running", attempt=1, pytorchjobs=["demo-1"])
    await fails_with(story, state="Rejected", Accepted="False/Refused", pytorchjobs=[])
    assert [record["number"] for record in story.status["attempts"]] == [1]
    mended = {"podTemplate": {"spec": {"hostNetwork": False}}} if "podTemplate" in REFUSED[name] else {"env": []}

    def mend(world: Any) -> None:
        body = copy.deepcopy(story.body)
        body["spec"].update(mended)
        world.put(body)

    await story.then(mend, state="Starting", attempt=2, Accepted="True", pytorchjobs=["demo-2"])


async def fails_with(story: Story, **expected: object) -> None:
    """Attempt 1 does, and its time to wait is over."""
    lost = story.outcome("failed", "CudaError", attempt=1, node_rank=1)
    await story.then(lambda world: world.end("demo-1-worker-0", lost, exit_code=1), state="Restarting")
    await story.then(lambda world: world.advance(BACKOFF), **expected)


async def test_more_attempts_are_given_at_once() -> None:
    story = await running()
    await story.then(story.lay_over(runPolicy={"maxAttempts": 1}), state="Running")
    lost = story.outcome("failed", "CudaError", attempt=1, node_rank=1)
    await story.then(lambda world: world.end("demo-1-worker-0", lost, exit_code=1), state="Failed")
    await story.then(story.lay_over(runPolicy={"maxAttempts": 2}), state="Restarting")
    await story.then(lambda world: world.advance(BACKOFF), state="Starting", pytorchjobs=["demo-2"])


async def test_how_long_a_job_that_is_over_is_kept_takes_effect_at_once() -> None:
    story = await running()
    await story.then(lambda world: world.end("demo-1-master-0", story.outcome("succeeded", "Succeeded", attempt=1)))
    await story.then(story.edit(keepSucceededSeconds=600), state="Succeeded", pytorchjobs=["demo-1"])
    assert story.requeue_after == 600
    await story.then(story.edit(keepSucceededSeconds=None), pytorchjobs=["demo-1"])
    assert story.requeue_after is None
    edit = story.edit(keepSucceededSeconds=0)
    await story.then(edit, state="Succeeded", Accepted="True/Accepted", pytorchjobs=[], configmaps=["demo-config"])


async def test_a_deadline_that_has_passed_already_ends_the_job() -> None:
    story = await running()
    await story.then(lambda world: world.advance(100), state="Running")
    await story.then(story.lay_over(runPolicy={"activeDeadlineSeconds": 60}), state="Failed")
    assert story.status["attempts"][0]["reason"] == "DeadlineExceeded"


async def test_the_same_manifest_again_is_nothing() -> None:
    story = await running()
    before = len(story.world.log)
    await story.then(story.lay_over(), state="Running", attempt=1)
    assert [line for line in story.world.log[before:] if not line.startswith("status")] == []
