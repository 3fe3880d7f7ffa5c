"""What `kubectl describe` tells of a job, from one status to the next."""

from __future__ import annotations

from typing import Any

import pytest
from tests.stories.fake_cluster import FakeCluster
from tests.stories.story import Story, job, nothing

from finetune_operator.cluster import ClusterError, ClusterRefused
from finetune_operator.status import events
from finetune_trainer.records import Progress

LATER = 3600.0


def run(world: FakeCluster) -> None:
    world.run()


def later(world: FakeCluster) -> None:
    world.advance(LATER)


def progress(step: int, checkpoint: int | None = None) -> Progress:
    return Progress(time=1e9 + step, phase="training", step=step, total_steps=9, checkpoint_step=checkpoint)


async def live(story: Story) -> None:
    """A job that trains, saves, loses a rank, goes on and ends."""
    await story.then(nothing, state="Starting")
    await story.then(run, state="Running")
    story.post(1, progress(1))
    await story.then(later, Training="True")
    story.post(1, progress(5, checkpoint=4))
    await story.then(later, CheckpointAvailable="True")
    lost = story.outcome("failed", "CudaError", attempt=1, message="device lost", checkpoint_step=4)
    await story.then(lambda world: world.end("demo-1-master-0", lost, exit_code=1, reason="Error"))
    await story.then(later, state="Starting")
    await story.then(run, state="Running")
    story.post(2, progress(6, checkpoint=4))
    await story.then(later, Training="True")
    done = story.outcome("succeeded", "Succeeded", attempt=2, message="finished at step 9", step=9)
    await story.then(lambda world: world.end("demo-2-master-0", done), state="Succeeded")


TOLD = [
    ("AttemptStarted", "attempt 1 started"),
    ("PodsRunning", "all pods of attempt 1 run"),
    ("TrainingStarted", "attempt 1 trains: step 1 of 9"),
    ("CheckpointSaved", "the first checkpoint is complete: checkpoint-4"),
    ("CudaError", "attempt 1 ended: device lost"),
    ("Restarted", "attempt 2 started; it goes on from the checkpoint of step 4"),
    ("PodsRunning", "all pods of attempt 2 run"),
    ("TrainingStarted", "attempt 2 trains: step 6 of 9"),
    ("Succeeded", "finished at step 9"),
]


async def test_the_events_tell_the_story_of_a_job() -> None:
    story = Story(job())
    await live(story)
    assert story.world.events == TOLD


async def test_an_operator_that_ends_in_the_middle_tells_nothing_twice_and_leaves_nothing_out() -> None:
    """Before each status write the API server goes away once: the next operator's pass repeats what was told."""

    class Failing(FakeCluster):
        failed = False

        async def write_status(self, key: Any, status: Any, resource_version: str | None = None) -> None:
            self.failed = not self.failed
            if self.failed:
                raise ClusterError("connection refused")
            await super().write_status(key, status, resource_version)

    story = Story(job())
    failing = Failing()
    failing.__dict__.update(story.world.__dict__)
    story.world = failing

    async def rest() -> None:
        for _ in range(8):
            await story.one_pass()

    story.rest = rest  # type: ignore[method-assign]  # passes that fail change nothing, and are no rest
    await live(story)
    assert story.world.events == TOLD
    assert len(story.world.told) > len(TOLD), "some were told again, and not taken"


async def test_a_job_that_fails_for_good_says_so_after_its_last_attempt() -> None:
    story = Story(job())
    await story.then(nothing, state="Starting")
    await story.then(run, state="Running")
    wrong = story.outcome("failed", "DataInvalid", attempt=1, message="row 3", retryable=False)
    await story.then(lambda world: world.end("demo-1-master-0", wrong, exit_code=1, reason="Error"), state="Failed")
    assert story.world.events[-2:] == [
        ("DataInvalid", "attempt 1 ended: row 3"),
        ("Failed", "the job has failed (DataInvalid) after 1 failed attempt"),
    ]


async def test_an_attempt_whose_children_were_refused_starts_when_they_are_taken() -> None:
    story = Story(job())
    story.world.troubles.append(("apply PyTorchJob", ClusterRefused("exceeded quota: gpus")))
    await story.one_pass()
    assert story.world.events == []
    await story.then(nothing, state="Starting")
    assert story.world.events == [("AttemptStarted", "attempt 1 started")]


@pytest.mark.parametrize("status", [None, {}])
def test_a_job_that_nobody_has_looked_at_has_no_past(status: dict[str, Any] | None) -> None:
    assert events(status, {"state": "Queued", "attempt": 0, "conditions": []}) == ()
