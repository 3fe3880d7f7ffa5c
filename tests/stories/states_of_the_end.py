"""States of a job that trains no more; a docstring is what docs/gitops.md calls its state."""

from __future__ import annotations

from typing import Any, Literal

from tests.stories.states_of_attempts import PATIENCE, fails, training, trains
from tests.stories.story import Change, Story, job, nothing

from finetune_operator import names
from finetune_trainer.records import Exported

MERGED = "/output/default/demo/out/merged"


async def exporting() -> Story:
    """It is trained; the adapter is merged"""
    story = Story(job(nodes=2, export={"merge": True}))
    await story.then(nothing, state="Starting")
    await story.then(lambda world: world.run(), state="Running")
    await trains(story)
    await story.then(succeeds(story), state="Exporting")
    return story


async def export_failed() -> Story:
    """It is trained; the adapter can't be merged"""
    story = await exporting()
    await story.then(_merged("failed", "ModelInvalid", message="the base is quantised"), state="Failed")
    return story


async def exported() -> Story:
    """It is trained and merged"""
    story = await exporting()
    await story.then(_merged("succeeded", "Exported", folder=MERGED), state="Succeeded")
    return story


async def succeeded() -> Story:
    """It is trained"""
    story = await training()
    await story.then(succeeds(story), state="Succeeded")
    return story


async def edited_after_the_end() -> Story:
    """It is trained, and the manifest was edited afterwards"""
    story = await succeeded()
    await story.then(story.lay_over(training={"learning_rate": 1.0e-6}), state="Succeeded")
    return story


async def attempts_used_up() -> Story:
    """Its last attempt has failed"""
    story = Story(job(nodes=2, runPolicy={"maxAttempts": 1}))
    await story.then(nothing, state="Starting")
    await story.then(lambda world: world.run(), state="Running")
    await trains(story)
    await story.then(fails(story, 1), state="Failed")
    return story


async def deadline_passed() -> Story:
    """It has not ended within its deadline"""
    story = Story(job(nodes=2, runPolicy={"activeDeadlineSeconds": 600}))
    await story.then(nothing, state="Starting")
    await story.then(lambda world: world.run(), state="Running")
    await story.then(lambda world: world.advance(PATIENCE), state="Failed")
    return story


def _merged(result: Literal["succeeded", "failed"], reason: str, **more: Any) -> Change:
    """The pod that merges leaves this."""
    found = Exported(result=result, reason=reason, **{"message": "", "retryable": False, **more})
    return lambda world: world.end_job(found, names.export_name("demo"))


def succeeds(story: Story) -> Change:
    """Attempt 1 does."""
    done = story.outcome("succeeded", "Succeeded", attempt=1, message="trained", step=400, checkpoint_step=400)
    return lambda world: world.end("demo-1-master-0", done)
