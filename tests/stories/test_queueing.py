"""A job in a queue: what Kueue does to it, what status tells of it, and what is never an attempt's end."""

from __future__ import annotations

from typing import Any

import pytest
from tests.stories import queues
from tests.stories.fake_cluster import FakeCluster
from tests.stories.story import Story, job, nothing

from finetune_operator import names
from finetune_operator.plan.queue import PATIENCE_SECONDS

HOUR = 3600.0


def queued(**spec: Any) -> Story:
    return Story(job(nodes=2, scheduling={"queue": "team-a", "startTimeoutSeconds": 1800}, **spec))


def run(world: FakeCluster) -> None:
    world.run()


def condition(story: Story, kind: str) -> tuple[str, str, str]:
    found = next(one for one in story.status["conditions"] if one["type"] == kind)
    return found["status"], found["reason"], found["message"]


async def training(**spec: Any) -> Story:
    """A job that its queue has let in, and that runs."""
    story = queued(**spec)
    await story.then(nothing, state="Queued", pods=[])
    await story.then(queues.admit, state="Starting")
    await story.then(run, state="Running")
    return story


async def test_it_is_created_suspended_and_never_written_again() -> None:
    story = queued()
    await story.then(nothing, state="Queued", pytorchjobs=["demo-1"], pods=[], Ready="True", Admitted="False/Queued")
    pytorchjob = story.world.objects["PyTorchJob", "default", "demo-1"]
    assert pytorchjob["spec"]["runPolicy"]["suspend"] is True
    assert pytorchjob["metadata"]["labels"][names.LABEL_QUEUE] == "team-a"
    await story.then(queues.admit, state="Starting", pods=["demo-1-master-0", "demo-1-worker-0"])
    await story.then(run, state="Running", Admitted="True/Admitted", Ready="True")
    assert [line for line in story.world.log if line == "apply PyTorchJob demo-1"] == ["apply PyTorchJob demo-1"]
    assert condition(story, "Admitted")[2] == "queue team-a, cluster queue gpus, flavor a100"


async def test_it_shows_its_place_and_kueues_own_words() -> None:
    story = queued()
    await story.then(nothing, state="Queued")
    queues.enqueue(story.world, "couldn't assign flavors to pod set master: insufficient quota")
    queues.place(story.world, 1)
    await story.then(nothing, state="Queued", Ready="True")
    expected = (
        "position 2 in queue team-a (4 in its cluster queue): couldn't assign flavors to pod set master: insufficient"
        " quota"
    )
    assert condition(story, "Admitted") == ("False", "Queued", expected)
    assert (story.status["queue"]["position"], story.status["queue"]["positionInClusterQueue"]) == (2, 4)
    assert story.requeue_after == 30, "who is far back is looked at less often"


async def test_an_evicted_job_goes_on_in_the_same_attempt_and_nothing_is_counted() -> None:
    story = await training()
    story.world.advance(HOUR)
    await story.then(
        queues.evict,
        state="Queued",
        pods=[],
        pytorchjobs=["demo-1"],
        Admitted="False/Preempted",
        Suspended="True/SuspendedByQueue",
        Ready="True",
    )
    assert condition(story, "Admitted")[2] == (
        "evicted from queue team-a: Preempted to accommodate a workload (UID: 7); in queue team-a: couldn't assign"
        " flavors to pod set master"
    )
    story.world.advance(HOUR)
    await story.then(queues.admit, state="Starting", Admitted="True", Suspended="False/Resumed")
    await story.then(run, state="Running", attempt=1, pytorchjobs=["demo-1"])
    assert story.status["attempts"] == []
    queue = story.status["queue"]
    assert (queue["admissions"], queue["evictions"], queue["waitedSeconds"]) == (2, 1, HOUR)
    done = story.outcome("succeeded", "Completed", attempt=1)
    await story.then(lambda world: world.end("demo-1-master-0", done), state="Succeeded", Admitted="True")
    told = [reason for reason, _ in story.world.events if reason != "PodsRunning"]
    assert told == ["Queued", "AttemptStarted", "Admitted", "Preempted", "Admitted", "Succeeded"]


async def test_pods_that_go_before_the_pytorchjob_is_seen_suspended_are_no_failure() -> None:
    story = await training()
    story.world.grace = True

    def first_half(world: FakeCluster) -> None:
        """The list of pods is newer than that of PyTorchJobs."""
        queues.mark_evicted(world)
        world.remove("Pod", "demo-1-worker-0")

    await story.then(first_half, state="Queued", pytorchjobs=["demo-1"])
    assert story.status["attempts"] == []


async def test_evicted_pods_that_take_their_grace_time_are_not_taken_for_those_that_come_back() -> None:
    story = await training()
    story.world.grace = True
    await story.then(queues.evict, state="Queued", pods=["demo-1-master-0", "demo-1-worker-0"])
    story.world.advance(5)
    await story.then(queues.admit, state="Starting", PodsReady="False")
    await story.then(lambda world: world.finish_terminating(), state="Starting")
    await story.then(run, state="Running")
    assert story.status["attempts"] == []


async def test_a_pytorchjob_that_fails_by_its_evicted_pods_is_tried_again_and_not_counted() -> None:
    story = await training()
    story.world.grace = True
    await story.then(queues.evict, state="Queued")
    story.world.end("demo-1-master-0", story.outcome("stopped", "Stopped", attempt=1), exit_code=1, reason="Error")
    story.world.advance(5)
    await story.then(queues.admit, state="Restarting")
    (record,) = story.status["attempts"]
    assert (record["reason"], record["counted"]) == ("PyTorchJobFailed", False)


async def test_who_stands_far_back_is_not_asked_about_all_the_time() -> None:
    story = queued()
    await story.then(nothing, state="Queued")
    queues.enqueue(story.world)
    await story.then(nothing, state="Queued")
    assert story.requeue_after == 2
    await story.then(lambda world: world.advance(PATIENCE_SECONDS), state="Queued")
    assert story.requeue_after is None
    queues.place(story.world, 199)
    await story.then(nothing, state="Queued")
    assert story.requeue_after == 15 * 200


async def test_an_operator_that_was_away_for_an_eviction_takes_the_new_pods_as_they_are() -> None:
    story = await training()
    queues.evict(story.world)
    story.world.advance(60)
    queues.admit(story.world)
    await story.then(run, state="Running", pytorchjobs=["demo-1"])
    assert story.status["attempts"] == []


async def test_a_pod_that_somebody_deletes_is_still_a_failure() -> None:
    story = await training()
    story.world.grace = True
    await story.then(lambda world: world.remove("Pod", "demo-1-worker-0"), state="Restarting")
    (record,) = story.status["attempts"]
    assert (record["reason"], record["counted"]) == ("PodDeleted", True)


async def test_a_run_that_was_done_when_it_was_evicted_is_done() -> None:
    story = await training()
    done = story.outcome("succeeded", "Completed", attempt=1)

    def both(world: FakeCluster) -> None:
        world.end("demo-1-master-0", done)
        queues.mark_evicted(world)

    await story.then(both, state="Succeeded")


async def test_the_next_attempt_waits_in_the_queue_again() -> None:
    story = await training()
    lost = story.outcome("failed", "CudaError", attempt=1)
    await story.then(lambda world: world.end("demo-1-master-0", lost, exit_code=1), state="Restarting")
    await story.then(
        lambda world: world.advance(HOUR), state="Queued", pytorchjobs=["demo-2"], Admitted="False/Queued"
    )
    await story.then(lambda world: queues.admit(world, "demo-2"), state="Starting")
    await story.then(run, state="Running", attempt=2, Admitted="True")


async def test_time_in_the_queue_is_neither_start_nor_deadline() -> None:
    story = queued(runPolicy={"activeDeadlineSeconds": 2 * HOUR})
    await story.then(nothing, state="Queued")
    await story.then(lambda world: world.advance(10 * HOUR), state="Queued")
    await story.then(queues.admit, state="Starting")
    await story.then(run, state="Running")
    await story.then(lambda world: world.advance(HOUR), state="Running")
    await story.then(queues.evict, state="Queued")
    await story.then(lambda world: world.advance(10 * HOUR), state="Queued")
    await story.then(queues.admit, state="Starting")
    await story.then(run, state="Running")
    await story.then(lambda world: world.advance(HOUR - 60), state="Running")
    await story.then(lambda world: world.advance(120), state="Failed")
    assert story.status["attempts"][0]["reason"] == "DeadlineExceeded"


async def test_a_resumption_that_the_training_operator_has_not_seen_yet_is_no_late_start() -> None:
    story = await training()
    await story.then(queues.evict, state="Queued")
    story.world.advance(HOUR)
    workload = story.world.objects["Workload", "default", "pytorchjob-demo-1"]
    pytorchjob = story.world.objects["PyTorchJob", "default", "demo-1"]
    stale = {"startTime": pytorchjob["metadata"]["creationTimestamp"], **pytorchjob["status"]}
    queues.admit(story.world)
    for pod in story.world.named("Pod"):
        del story.world.objects["Pod", "default", pod]
    pytorchjob["status"] = stale
    await story.then(nothing, state="Starting")
    assert workload["status"]["admission"]
    assert story.status["attempts"] == []


async def test_the_users_own_suspension_takes_it_out_of_the_queue() -> None:
    story = queued()
    await story.then(nothing, state="Queued")
    await story.then(story.edit(suspend=True), state="Suspended", pytorchjobs=[], Suspended="True/Suspended")
    await story.then(story.edit(suspend=False), state="Queued", pytorchjobs=["demo-2"], Suspended="False/Resumed")
    assert not any(record["counted"] for record in story.status["attempts"])


async def test_it_suspends_while_it_runs_under_a_queue() -> None:
    story = await training()
    await story.then(story.edit(suspend=True), state="Suspended", pytorchjobs=[], pods=[], Admitted="False/Suspended")


async def test_a_queue_that_is_not_there_is_told_until_it_is() -> None:
    story = queued()
    await story.then(nothing, state="Queued")
    queues.enqueue(story.world, "LocalQueue team-a doesn't exist", reason="Inadmissible")
    await story.then(nothing, state="Queued", Ready="False/QueueMissing", Stalled="True", Admitted="False")
    assert condition(story, "Ready")[2] == "in queue team-a: LocalQueue team-a doesn't exist"
    assert ("QueueMissing", condition(story, "Ready")[2]) in story.world.events
    await story.then(queues.admit, state="Starting", Ready="True", Stalled=None)


async def test_a_queue_that_is_stopped_is_no_fault_of_the_job() -> None:
    story = queued()
    await story.then(nothing, state="Queued")
    queues.enqueue(story.world, "ClusterQueue gpus is inactive", reason="Inadmissible")
    await story.then(nothing, state="Queued", Ready="True", Stalled=None)
    assert "ClusterQueue gpus is inactive" in condition(story, "Admitted")[2]


async def test_without_kueue_it_says_so() -> None:
    story = queued()
    story.world.kueue_trouble = "Kueue is not installed: the API server knows no workloads"
    await story.then(nothing, state="Queued", Ready="False/KueueUnreadable", Stalled="True/KueueUnreadable")
    assert "spec.scheduling.queue team-a: Kueue is not installed" in story.status["message"]


async def test_a_kueue_that_takes_no_notice_is_told() -> None:
    story = queued()
    await story.then(nothing, state="Queued", Ready="True")
    await story.then(lambda world: world.advance(PATIENCE_SECONDS), state="Queued", Stalled="True/NoWorkload")
    assert "kubeflow.org/pytorchjob" in story.status["message"]


async def test_a_deactivated_workload_needs_a_person() -> None:
    story = await training()
    await story.then(
        lambda world: queues.evict(world, reason="Deactivated"), state="Queued", Stalled="True/Deactivated"
    )


@pytest.mark.parametrize("state", ["Queued", "Running"])
async def test_a_job_that_is_deleted_leaves_nothing(state: str) -> None:
    story = queued() if state == "Queued" else await training()
    await story.then(nothing, state=state)
    queues.enqueue(story.world)
    story.world.remove(names.KIND, "demo")
    left = {kind for kind, _, _ in story.world.objects} - {"PersistentVolumeClaim"}
    assert left == set()


async def test_a_pytorchjob_that_somebody_else_suspends_is_told() -> None:
    story = Story(job(nodes=2))
    await story.then(nothing, state="Starting")
    await story.then(lambda world: world.suspend_pytorchjob("demo-1", suspend=True), state="Queued")
    assert "somebody has suspended the PyTorchJob" in story.status["message"]
