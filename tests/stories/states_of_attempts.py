"""States of a job whose attempts run, wait or stop; a docstring is what docs/gitops.md calls its state."""

from __future__ import annotations

from tests.stories import queues
from tests.stories.states_before import queued
from tests.stories.story import Change, Story, job, nothing

from finetune_trainer.records import Progress

PATIENCE = 3600.0
"""Seconds; longer than any wait before an attempt."""


async def starting() -> Story:
    """The pods of attempt 1 start"""
    story = Story(job(nodes=2))
    await story.then(nothing, state="Starting")
    return story


async def pod_cannot_start() -> Story:
    """A pod can't start: its image can't be had"""
    story = await starting()
    why = "Back-off pulling image"
    await story.then(lambda world: world.wait("demo-1-worker-0", "ImagePullBackOff", why), state="Starting")
    return story


async def loading() -> Story:
    """The pods run, no step is made yet"""
    story = await starting()
    await story.then(lambda world: world.run(), state="Running")
    return story


async def training() -> Story:
    """It trains, and has a checkpoint"""
    story = await loading()
    await trains(story)
    return story


async def admitted() -> Story:
    """Its queue has let it in, and it trains"""
    story = await queued()
    await story.then(queues.admit, state="Starting")
    await story.then(lambda world: world.run(), state="Running")
    await trains(story)
    return story


async def edit_not_seen() -> Story:
    """It trains, and was edited this moment"""
    story = await training()
    story.lay_over(runPolicy={"maxAttempts": 2})(story.world)
    return story


async def edit_ignored() -> Story:
    """It trains, and what can't be changed any more was changed"""
    story = await training()
    await story.then(
        story.lay_over(training={"learning_rate": 1.0e-6}), state="Running", Accepted="True/ChangeIgnored"
    )
    return story


async def edited_to_nonsense() -> Story:
    """It trains, and the manifest was edited so that it contradicts itself"""
    story = await training()
    await story.then(story.lay_over(training={"learning_rat": 1.0e-6}), state="Rejected")
    return story


async def evicted() -> Story:
    """Its queue has taken the nodes back in the middle"""
    story = await admitted()
    await story.then(queues.evict, state="Queued")
    return story


async def restarting() -> Story:
    """An attempt has failed, the next one waits for its backoff"""
    story = await training()
    await story.then(fails(story, 1), state="Restarting")
    return story


async def suspending() -> Story:
    """The user has suspended it; its pods save a checkpoint and end"""
    story = await training()
    story.world.grace = True
    await story.then(story.edit(suspend=True))
    return story


async def suspended() -> Story:
    """The user has suspended it; its pods are gone"""
    story = await suspending()
    await story.then(lambda world: world.finish_terminating(), state="Suspended", pods=[])
    return story


async def created_suspended() -> Story:
    """It was created suspended"""
    story = Story(job(nodes=2, runPolicy={"suspend": True}))
    await story.then(nothing, state="Suspended")
    return story


async def resumed() -> Story:
    """It was suspended, and trains again"""
    story = await suspended()
    await story.then(story.edit(suspend=False), state="Starting")
    await story.then(lambda world: world.run(), state="Running")
    return story


async def being_deleted() -> Story:
    """It is deleted in the foreground while it trains; its children go first"""
    story = await training()
    deleted = {"deletionTimestamp": story.world.stamp(), "deletionGracePeriodSeconds": 0}
    story.body["metadata"].update(deleted, finalizers=["foregroundDeletion"])
    story.body["metadata"]["generation"] += 1  # as the API server does
    await story.rest()
    return story


async def trains(story: Story) -> None:
    """An hour later 120 steps are made."""
    story.world.advance(PATIENCE)
    told = Progress(
        time=story.world.now.timestamp(),
        phase="training",
        step=120,
        total_steps=400,
        epoch=0.9,
        loss=1.234,
        remaining_seconds=8400,
        checkpoint_step=100,
        checkpoint_path="checkpoint-100",
        checkpoint_time=story.world.now.timestamp() - 600,
    )
    story.post(1, told)
    await story.then(nothing, state="Running", Training="True", CheckpointAvailable="True")


def fails(story: Story, attempt: int) -> Change:
    """A GPU is lost."""
    why = "rank 1: device lost"
    lost = story.outcome(
        "failed", "CudaError", attempt=attempt, node_rank=1, message=why, rank=1, step=130, checkpoint_step=100
    )
    return lambda world: world.end(f"demo-{attempt}-worker-0", lost, exit_code=1, reason="Error")
