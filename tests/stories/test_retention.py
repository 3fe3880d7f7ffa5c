"""How long what a job has made outlives its end, and that a job stays what it is when that is gone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tests.stories.fake_cluster import FakeCluster
from tests.stories.story import Change, Story, claim, job, nothing

from finetune_operator.cluster import ClusterError
from finetune_operator.intake import ProgressStore
from finetune_trainer.records import Exported, Preparation, Progress

BACKOFF = 20
HOUR, DAY = 3600, 86_400
FOLDER = "/output/default/demo/out/merged"
CACHED = {"output": {"claimName": "runs"}, "cache": {"claimName": "models"}}


def trained(story: Story) -> Change:
    """Attempt 1 succeeds."""

    def change(world: FakeCluster) -> None:
        world.run()
        world.end("demo-1-master-0", story.outcome("succeeded", "Succeeded", attempt=1))

    return change


def broken(story: Story, attempt: int = 1) -> Change:
    """The attempt fails."""

    def change(world: FakeCluster) -> None:
        world.run()
        lost = story.outcome("failed", "CudaError", attempt=attempt, node_rank=1)
        world.end(f"demo-{attempt}-worker-0", lost, exit_code=1)

    return change


def later(seconds: float) -> Change:
    return lambda world: world.advance(seconds)


def restarted(story: Story) -> Change:
    """Another operator takes over: it has heard no post."""

    def change(_world: FakeCluster) -> None:
        story.progress = ProgressStore()

    return change


async def begun(**spec: Any) -> Story:
    story = Story(job(nodes=2, **spec))
    await story.then(nothing, state="Starting")
    return story


async def whole(**policy: Any) -> Story:
    """A job that was prepared, trained and merged."""
    story = Story(
        job(model={"uri": "hf://org/tiny"}, storage=CACHED, nodes=2, export={"merge": True}, runPolicy=policy)
    )
    story.world.put(claim("models"))
    await story.then(nothing, state="Preparing")
    ready = Preparation(result="succeeded", reason="Prepared", message="", retryable=False, model="/models/x")
    await story.then(lambda world: world.end_job(ready, "demo-prepare"), state="Starting")
    story.post(1, Progress(time=0, phase="training", step=5, total_steps=5, checkpoint_step=4))
    await story.then(trained(story), state="Exporting", jobs=["demo-prepare", "demo-export"])
    return story


def merge(world: FakeCluster) -> None:
    done = Exported(result="succeeded", reason="Exported", message="", retryable=False, folder=FOLDER)
    world.end_job(done, "demo-export")


GONE: dict[str, Any] = {"pytorchjobs": [], "pods": [], "jobs": [], "configmaps": ["demo-config"]}


async def test_what_is_not_said_stays_as_long_as_the_job() -> None:
    story = await begun()
    await story.then(trained(story), state="Succeeded")
    assert story.requeue_after is None
    await story.then(later(365 * DAY), state="Succeeded", pytorchjobs=["demo-1"], configmaps=["demo-config", "demo-1"])
    assert story.requeue_after is None


async def test_after_its_time_all_goes_but_what_was_frozen_and_the_status_stays() -> None:
    story = await whole(keepSucceededSeconds=DAY)
    await story.then(merge, state="Succeeded", jobs=["demo-prepare", "demo-export"], exportedModel=FOLDER)
    assert story.requeue_after == DAY
    before = copy.deepcopy(story.status)
    await story.then(later(DAY - HOUR), pytorchjobs=["demo-1"])
    assert (story.requeue_after, story.status) == (HOUR, before), "a status that counts down would wake us for ever"
    await story.then(later(HOUR), state="Succeeded", **GONE)
    assert (story.status, story.requeue_after) == (before, None)


async def test_another_operator_finds_it_as_it_was() -> None:
    story = await whole(keepSucceededSeconds=0)
    await story.then(merge, state="Succeeded", **GONE)
    before, writes = copy.deepcopy(story.status), len(story.world.log)
    await story.then(restarted(story), state="Succeeded", Exported="True", Prepared="True", exportedModel=FOLDER)
    assert (story.status, story.world.log[writes:]) == (before, [])
    assert (story.status["progress"]["step"], story.status["progress"]["percentage"]) == (5, "100%")


async def test_the_clock_is_set_again_by_another_operator() -> None:
    story = await whole(keepSucceededSeconds=DAY)
    await story.then(merge, state="Succeeded")
    story.world.advance(HOUR)
    await story.then(restarted(story), pytorchjobs=["demo-1"])
    assert story.requeue_after == DAY - HOUR
    story.world.advance(2 * DAY)
    await story.then(restarted(story), **GONE)


async def test_at_once_is_after_status_says_what_was_found() -> None:
    story = await whole(keepSucceededSeconds=0)
    story.world.troubles.append(("status demo Succeeded", ClusterError("away")))
    merge(story.world)
    await story.one_pass()
    assert story.world.named("Job") == ["demo-prepare", "demo-export"]
    await story.then(nothing, state="Succeeded", exportedModel=FOLDER, **GONE)
    deletes = [line for line in story.world.log if line.startswith("delete")]
    assert deletes[:2] == ["delete PyTorchJob demo-1", "delete ConfigMap demo-1"]
    assert [line for line in story.world.log if line == "apply Job demo-export"] == ["apply Job demo-export"]


async def test_what_the_preparation_said_is_no_progress_of_the_training() -> None:
    story = await whole(keepSucceededSeconds=0)
    await story.then(merge, state="Succeeded", **GONE)
    before = copy.deepcopy(story.status)
    restarted(story)(story.world)
    story.post(0, Progress(time=0, phase="fetching", fetched_bytes=1, total_bytes=1))
    await story.then(later(HOUR), state="Succeeded")
    assert story.status == before


async def test_who_asks_for_the_export_afterwards_gets_it_and_it_goes_in_its_turn() -> None:
    story = await begun(runPolicy={"keepSucceededSeconds": HOUR})
    await story.then(trained(story), state="Succeeded")
    await story.then(later(HOUR), **GONE)
    ask = story.lay_over(export={"merge": True})
    await story.then(ask, state="Exporting", jobs=["demo-export"], completionTime=None, Accepted="True/Accepted")
    await story.then(merge, state="Succeeded", jobs=["demo-export"], exportedModel=FOLDER)
    assert story.requeue_after == HOUR, "it ended anew"
    await story.then(later(HOUR), state="Succeeded", exportedModel=FOLDER, **GONE)


async def test_nothing_goes_while_it_is_exported() -> None:
    story = await begun()
    await story.then(trained(story), state="Succeeded")
    both = story.lay_over(export={"merge": True}, runPolicy={"keepSucceededSeconds": 0})
    await story.then(both, state="Exporting", jobs=["demo-export"], pytorchjobs=["demo-1"])
    await story.then(merge, state="Succeeded", exportedModel=FOLDER, **GONE)


async def test_more_attempts_wake_a_failed_job_whose_children_are_gone() -> None:
    story = await begun(runPolicy={"maxAttempts": 1, "keepFailedSeconds": HOUR})
    frozen = copy.deepcopy(story.world.objects["ConfigMap", "default", "demo-config"])
    await story.then(broken(story), state="Failed", pytorchjobs=["demo-1"])
    await story.then(later(HOUR), state="Failed", Succeeded="False/CudaError", **GONE)
    assert [record["number"] for record in story.status["attempts"]] == [1]
    await story.then(story.edit(maxAttempts=2), state="Starting", attempt=2, pytorchjobs=["demo-2"])
    assert story.world.objects["ConfigMap", "default", "demo-config"] == frozen
    await story.then(broken(story, 2), state="Failed", pytorchjobs=["demo-2"])
    await story.then(later(HOUR), state="Failed", attempt=2, **GONE)


@pytest.mark.parametrize("clean", ["None", "Running", "All"])
async def test_the_pods_that_are_to_go_at_the_end_go_then_and_the_rest_in_its_time(clean: str) -> None:
    story = await begun(runPolicy={"cleanPods": clean, "keepSucceededSeconds": HOUR})
    left: list[str] = [] if clean == "All" else ["demo-1"]
    await story.then(trained(story), state="Succeeded", pytorchjobs=left)
    assert story.requeue_after == (None if clean == "All" else HOUR)
    await story.then(later(HOUR), state="Succeeded", **GONE)


@pytest.mark.parametrize("kept", ["keepSucceededSeconds", "keepFailedSeconds"])
async def test_each_outcome_has_its_own_time(kept: str) -> None:
    story = await begun(runPolicy={kept: 0})
    await story.then(
        trained(story), state="Succeeded", pytorchjobs=[] if kept == "keepSucceededSeconds" else ["demo-1"]
    )
    story = await begun(runPolicy={kept: 0, "maxAttempts": 1})
    await story.then(broken(story), state="Failed", pytorchjobs=[] if kept == "keepFailedSeconds" else ["demo-1"])


async def test_a_job_that_failed_before_attempt_1_keeps_what_says_why() -> None:
    story = Story(job(model={"uri": "hf://org/tiny"}, storage=CACHED, runPolicy={"keepFailedSeconds": 0}))
    story.world.put(claim("models"))
    await story.then(nothing, state="Preparing")
    unfit = Preparation(
        result="succeeded", reason="Prepared", message="too large", retryable=False, fits=False, model="/models/x"
    )
    await story.then(lambda world: world.end_job(unfit, "demo-prepare"), state="Failed")
    await story.then(later(DAY), state="Failed", Succeeded="False/DoesNotFit", jobs=["demo-prepare"])
    assert story.requeue_after is None


async def test_an_export_that_failed_stays_for_who_deletes_it_has_it_tried_again() -> None:
    story = await whole(keepFailedSeconds=0, keepSucceededSeconds=0)
    wrong = Exported(result="failed", reason="ModelInvalid", message="quantised", retryable=False)
    await story.then(
        lambda world: world.end_job(wrong, "demo-export"),
        state="Failed",
        pytorchjobs=[],
        jobs=["demo-export"],
        configmaps=["demo-config"],
    )
    await story.then(lambda world: world.remove("Job", "demo-export"), state="Exporting", jobs=["demo-export"])
    await story.then(merge, state="Succeeded", attempt=1, **GONE)


async def test_children_that_take_their_time_to_go_are_not_asked_again_and_again() -> None:
    story = await begun(runPolicy={"keepSucceededSeconds": 0})
    story.world.grace = True
    await story.then(trained(story), state="Succeeded", pytorchjobs=[], pods=["demo-1-master-0", "demo-1-worker-0"])
    assert story.requeue_after is None
    await story.then(lambda world: world.finish_terminating(), state="Succeeded", **GONE)
