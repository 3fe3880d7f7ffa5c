"""States of a job that has no pods with GPUs yet; a docstring is what docs/gitops.md calls its state."""

from __future__ import annotations

from typing import Any, Literal

from tests.stories import queues
from tests.stories.story import Change, Story, claim, job, nothing

from finetune_operator.cluster import ClusterRefused
from finetune_trainer.records import Preparation, Progress

STORAGE = {"output": {"claimName": "runs"}, "cache": {"claimName": "models"}}
FOLDER = "/models/hf/org/tiny/0123456789"


async def just_created() -> Story:
    """Created; the operator has not looked yet"""
    return Story(_remote())


async def wrong_manifest() -> Story:
    """The manifest contradicts itself"""
    story = Story(job(training={**job()["spec"]["training"], "learning_rat": 1.0e-4}))
    await story.then(nothing, state="Rejected")
    return story


async def missing_claim() -> Story:
    """The cluster lacks a claim that it names"""
    story = Story(job(storage={"output": {"claimName": "not-there"}}))
    await story.then(nothing, state="Rejected")
    return story


async def preparing() -> Story:
    """The model is fetched, the data are tokenised"""
    story = _begun(_remote())
    await story.then(nothing, state="Preparing")
    now, size = story.world.now.timestamp(), 72_100_000_000
    fetching = Progress(
        time=now, phase="fetching", fetched_bytes=31_200_000_000, total_bytes=size, remaining_seconds=90
    )
    story.post(0, fetching)
    await story.rest()
    return story


async def preparation_tried_again() -> Story:
    """The hub is away, and is asked again"""
    story = _begun(_remote())
    await story.then(nothing, state="Preparing")
    await story.then(_prepared("failed", "SourceDown", "the hub does not answer", retryable=True), state="Preparing")
    return story


async def preparation_failed() -> Story:
    """The preparation has failed for good"""
    story = _begun(_remote())
    await story.then(nothing, state="Preparing")
    wrong = _prepared("failed", "AccessDenied", "hf://org/tiny: the token is wrong")
    await story.then(wrong, state="Failed")
    return story


async def does_not_fit() -> Story:
    """It was prepared, and takes more memory than its GPUs have"""
    story = _begun(_remote(resources={"nodes": 1, "gpusPerNode": 8, "gpuMemory": "80Gi"}))
    await story.then(nothing, state="Preparing")
    verdict = {"fits": False, "memory": 113 << 30, "instead": "this fits: deepspeed: zero3"}
    await story.then(_prepared("succeeded", "Prepared", "does not fit", model=FOLDER, **verdict), state="Failed")
    return story


async def queued() -> Story:
    """It waits in its queue"""
    story = Story(job(nodes=2, scheduling={"queue": "team-a"}))
    await story.then(nothing, state="Queued")
    await story.then(lambda world: queues.enqueue(world, "couldn't assign flavors to pod set master"), state="Queued")
    return story


async def quota_refused() -> Story:
    """The API server refuses the PyTorchJob: a quota"""
    story = Story(job(nodes=2))
    limit = "count/pytorchjobs.kubeflow.org=1"
    why = f"exceeded quota: jobs, requested: {limit}, used: {limit}, limited: {limit}"
    told = f'PATCH PyTorchJob default/demo-1: pytorchjobs.kubeflow.org "demo-1" is forbidden: {why}'
    story.world.troubles.append(("apply PyTorchJob", ClusterRefused(told)))
    await story.one_pass()
    return story


def _remote(**spec: Any) -> dict[str, Any]:
    """A job whose model lies at a hub, and that has a cache to share."""
    return job(**{"model": {"uri": "hf://org/tiny"}, "storage": STORAGE, **spec})


def _begun(manifest: dict[str, Any]) -> Story:
    story = Story(manifest)
    story.world.put(claim("models"))
    return story


def _prepared(result: Literal["succeeded", "failed"], reason: str, message: str, **more: Any) -> Change:
    """The pod that prepares leaves this."""
    found = Preparation(result=result, reason=reason, message=message, **{"retryable": False, **more})
    return lambda world: world.end_job(found, "demo-prepare")
