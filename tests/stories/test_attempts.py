"""The life of a job as attempts."""

from __future__ import annotations

import copy

import pytest
from tests.stories.fake_cluster import FakeCluster
from tests.stories.story import Story, job, nothing

from finetune_operator.cluster import ClusterRefused, WebhookUnavailable

BACKOFF = 3600.0
"""Longer than any wait before an attempt."""


def run(world: FakeCluster) -> None:
    world.run()


def later(world: FakeCluster) -> None:
    world.advance(BACKOFF)


async def test_a_job_runs_to_its_end() -> None:
    story = Story(job(nodes=2))
    await story.then(nothing, state="Starting", pytorchjobs=["demo-1"], configmaps=["demo-config", "demo-1"])
    await story.then(run, state="Running", Ready="True", Succeeded="Unknown")
    done = story.outcome("succeeded", "Completed", attempt=1, step=20)
    await story.then(
        lambda world: world.end("demo-1-master-0", done), state="Succeeded", Succeeded="True", Ready="True"
    )
    assert [line for line in story.world.log if line.startswith("delete ConfigMap demo-config")] == []


async def test_a_failed_rank_restarts_all_of_them() -> None:
    story = Story(job(nodes=2))
    await story.then(nothing, state="Starting")
    await story.then(run, state="Running")
    lost = story.outcome("failed", "CudaError", attempt=1, node_rank=1, message="device lost", rank=1, step=7)
    await story.then(lambda world: world.end("demo-1-worker-0", lost, exit_code=1, reason="Error"), state="Restarting")
    (record,) = story.status["attempts"]
    assert (record["reason"], record["rank"], record["step"]) == ("CudaError", 1, 7)
    await story.then(later, state="Starting", pytorchjobs=["demo-2"], pods=["demo-2-master-0", "demo-2-worker-0"])


async def test_the_record_is_written_before_anything_is_deleted() -> None:
    story = Story(job())
    await story.then(nothing, state="Starting")
    await story.then(run, state="Running")
    failed = story.outcome("failed", "CudaError", attempt=1)
    await story.then(lambda world: world.end("demo-1-master-0", failed, exit_code=1, reason="Error"))
    lines = [line for line in story.world.log if line.startswith(("status", "delete"))]
    first_delete = next(index for index, line in enumerate(lines) if line.startswith("delete"))
    assert lines[first_delete - 1].startswith("status demo Restarting")


async def test_a_pod_that_was_quietly_replaced_fails_the_attempt() -> None:
    story = Story(job(nodes=2))
    await story.then(nothing, state="Starting")
    await story.then(run, state="Running")
    await story.then(lambda world: world.vanish("demo-1-worker-0"), state="Restarting")
    (record,) = story.status["attempts"]
    assert record["reason"] == "PodReplaced"


async def test_no_new_rank_stands_beside_a_terminating_one() -> None:
    story = Story(job(nodes=2))
    story.world.grace = True
    await story.then(nothing, state="Starting")
    await story.then(run, state="Running")
    failed = story.outcome("failed", "CudaError", attempt=1)
    await story.then(lambda world: world.end("demo-1-master-0", failed, exit_code=1, reason="Error"))
    await story.then(lambda world: world.advance(600), state="Restarting", pods=["demo-1-master-0", "demo-1-worker-0"])
    await story.then(lambda world: world.finish_terminating(), pods=["demo-2-master-0", "demo-2-worker-0"])


async def test_a_pytorchjob_that_somebody_scaled_ends_the_job_with_both_numbers() -> None:
    story = Story(job(nodes=2))
    await story.then(nothing, state="Starting")
    await story.then(run, state="Running")

    def scale(world: FakeCluster) -> None:
        replicas = world.objects["PyTorchJob", "default", "demo-1"]["spec"]["pytorchReplicaSpecs"]
        replicas["Worker"]["replicas"] = 2
        world.training_operator()

    await story.then(scale, state="Running", pods=["demo-1-master-0", "demo-1-worker-0", "demo-1-worker-1"])
    wrong = story.outcome("failed", "WorldSizeMismatch", attempt=1, node_rank=2, retryable=False)
    await story.then(lambda world: world.end("demo-1-worker-1", wrong, exit_code=1, reason="Error"), state="Failed")
    (record,) = story.status["attempts"]
    assert (record["reason"], record["retryable"]) == ("WorldSizeMismatch", False)


async def test_the_next_attempt_stays_off_a_node_that_failed_where_that_is_asked_for() -> None:
    story = Story(job(nodes=2, runPolicy={"avoidFailedNodes": True}))
    await story.then(nothing, state="Starting")
    await story.then(run, state="Running")
    lost = story.outcome("failed", "CudaError", attempt=1, node_rank=1)
    await story.then(lambda world: world.end("demo-1-worker-0", lost, exit_code=1, reason="Error"), state="Restarting")
    await story.then(later, state="Starting", pytorchjobs=["demo-2"])
    affinity = story.world.pod("demo-2-worker-0")["spec"]["affinity"]["nodeAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["node-0"]}]}


async def test_a_drained_node_has_not_failed() -> None:
    story = Story(job(nodes=2, runPolicy={"avoidFailedNodes": True}))
    await story.then(nothing, state="Starting")
    await story.then(run, state="Running")
    await story.then(lambda world: world.disrupt("demo-1-worker-0", "Evicted", "drained"), state="Restarting")
    await story.then(later, state="Starting", pytorchjobs=["demo-2"])
    assert "affinity" not in story.world.pod("demo-2-worker-0")["spec"]


async def test_a_node_that_does_not_answer_does_not_hold_up_the_next_attempt() -> None:
    story = Story(job(nodes=2, runPolicy={"terminationGracePeriodSeconds": 60}))
    story.world.grace = True
    await story.then(nothing, state="Starting")
    await story.then(run, state="Running")

    def unreachable(world: FakeCluster) -> None:
        world.disrupt("demo-1-worker-0", "DeletionByTaintManager", "deleting due to NoExecute taint")
        world.remove("Pod", "demo-1-worker-0")

    await story.then(unreachable, state="Restarting", pytorchjobs=[])
    del story.world.objects["Pod", "default", "demo-1-master-0"]
    (record,) = story.status["attempts"]
    assert (record["reason"], record["counted"]) == ("Disrupted", False)
    await story.then(lambda world: world.advance(60), state="Restarting", pytorchjobs=[])
    assert story.requeue_after == story.settings.lost_pod_seconds
    await story.then(
        lambda world: world.advance(story.settings.lost_pod_seconds),
        state="Starting",
        pods=["demo-1-worker-0", "demo-2-master-0", "demo-2-worker-0"],
    )


async def test_a_suspended_job_gives_its_nodes_back_and_goes_on_later() -> None:
    story = Story(job(nodes=2))
    await story.then(nothing, state="Starting")
    await story.then(run, state="Running")
    await story.then(story.edit(suspend=True), state="Suspended", pods=[], pytorchjobs=[])
    await story.then(later, state="Suspended", pods=[])
    await story.then(story.edit(suspend=False), state="Starting", pytorchjobs=["demo-2"])


async def test_a_suspended_job_goes_on_with_another_number_of_nodes() -> None:
    story = Story(job(nodes=2))
    await story.then(nothing, state="Starting")
    await story.then(run, state="Running")
    await story.then(story.edit(suspend=True), state="Suspended", pods=[])
    smaller = copy.deepcopy(story.body)
    smaller["spec"]["resources"]["nodes"] = 1
    smaller["spec"]["runPolicy"]["suspend"] = False

    def resume(world: FakeCluster) -> None:
        world.put(smaller)
        world.advance(60)

    await story.then(resume, state="Starting", pods=["demo-2-master-0"], Accepted="True/Accepted")
    [container] = story.world.pod("demo-2-master-0")["spec"]["containers"]
    assert {"name": "FINETUNE_NODES", "value": "1"} in container["env"]
    await story.then(run, state="Running")
    done = story.outcome("succeeded", "Completed", attempt=2)
    await story.then(lambda world: world.end("demo-2-master-0", done), state="Succeeded")


async def test_an_operator_that_restarts_in_the_middle_starts_nothing_twice() -> None:
    story = Story(job(nodes=2))
    await story.one_pass()
    applied = [line for line in story.world.log if line.startswith("apply PyTorchJob")]
    for _ in range(3):
        await story.one_pass()
    assert [line for line in story.world.log if line.startswith("apply PyTorchJob")] == applied
    assert story.world.named("PyTorchJob") == ["demo-1"]


@pytest.mark.parametrize("line", ["apply PyTorchJob", "status demo"])
async def test_a_call_that_fails_is_made_good_by_the_next_pass(line: str) -> None:
    story = Story(job())
    story.world.troubles.append((line, WebhookUnavailable("no endpoints available for service")))
    await story.one_pass()
    assert story.errors
    await story.then(nothing, state="Starting", pytorchjobs=["demo-1"])


async def test_a_refusal_is_told_in_the_webhooks_words() -> None:
    story = Story(job())
    story.world.troubles.append(("apply PyTorchJob", ClusterRefused("exceeded quota: gpus")))
    await story.one_pass()
    assert "exceeded quota: gpus" in str(story.status["conditions"])


async def test_a_new_job_waits_for_the_children_of_the_old_one() -> None:
    story = Story(job(nodes=2))
    story.world.grace = True
    await story.then(nothing, state="Starting")
    await story.then(run, state="Running")
    story.world.remove("FineTuneJob", "demo")
    story.world.put(job(nodes=2))
    await story.then(nothing, pytorchjobs=[])
    await story.then(lambda world: world.finish_terminating(), pytorchjobs=["demo-1"])


async def test_pods_that_are_refused_are_told_with_the_cause_and_the_next_look_is_the_resyncs() -> None:
    story = Story(job(nodes=2))
    story.world.refuses_pods = 'pods "demo-1-master-0" is forbidden: exceeded quota: scarce'
    await story.then(nothing, state="Starting", pytorchjobs=["demo-1"], PodsReady="False", Ready="True")
    assert story.status["message"] == f"2 of 2 pods are refused: {story.world.refuses_pods}"
    reasons = {one["type"]: one["reason"] for one in story.status["conditions"]}
    assert reasons["PodsReady"] == "PodsRefused"
    assert story.requeue_after is None or story.requeue_after > 60
    story.world.refuses_pods = ""
    story.world.training_operator()
    await story.then(run, state="Running", PodsReady="True")
    assert story.status["message"] == ""
