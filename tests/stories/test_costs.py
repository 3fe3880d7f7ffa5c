"""What an attempt held and lost, as status tells it, and what Prometheus adds up of the statuses of a job's life."""

from __future__ import annotations

from typing import Any

from prometheus_client.exposition import generate_latest
from tests.stories import queues
from tests.stories.fake_cluster import FakeCluster
from tests.stories.story import Change, Story, job, nothing

from finetune_operator.metrics import Metrics
from finetune_trainer.records import Preparation, Progress

HOUR = 3600
BACKOFF = 20


def on_gpus(**spec: Any) -> Story:
    return Story(job(**{"resources": {"nodes": 2, "gpusPerNode": 8}, **spec}))


async def starts(story: Story, state: str = "Starting") -> None:
    await story.then(nothing, state="Preparing")
    ready = Preparation(result="succeeded", reason="Prepared", message="", retryable=False, data=True)
    await story.then(lambda world: world.end_job(ready, "demo-prepare"), state=state)


def trains(story: Story, attempt: int, *, saved: float) -> Change:
    """An hour passes; the last checkpoint is `saved` seconds old."""

    def change(world: FakeCluster) -> None:
        world.run()
        world.advance(HOUR)
        now = world.now.timestamp()
        story.post(
            attempt, Progress(time=now, phase="training", step=9, checkpoint_step=8, checkpoint_time=now - saved)
        )

    return change


def breaks(story: Story, attempt: int) -> Change:
    lost = story.outcome("failed", "CudaError", attempt=attempt, node_rank=1)
    return lambda world: world.end(f"demo-{attempt}-worker-0", lost, exit_code=1)


def costs(story: Story) -> list[tuple[int, int]]:
    """(GPUs, seconds lost) of each attempt."""
    return [(one.get("gpus", 0), one.get("lostSeconds", 0)) for one in story.status["attempts"]]


async def test_each_attempt_tells_what_it_held_and_what_of_it_is_repeated() -> None:
    story = on_gpus()
    await starts(story)
    await story.then(trains(story, 1, saved=600), state="Running")
    await story.then(breaks(story, 1), state="Restarting")
    await story.then(lambda world: world.advance(BACKOFF), state="Starting")
    await story.then(trains(story, 2, saved=2 * HOUR), state="Running")
    await story.then(breaks(story, 2), state="Restarting")
    assert costs(story) == [(16, 600), (16, HOUR)], "attempt 2 made no checkpoint of its own"


async def test_another_number_of_nodes_is_another_number_of_gpus() -> None:
    story = on_gpus()
    await starts(story)
    await story.then(trains(story, 1, saved=600), state="Running")
    await story.then(story.edit(suspend=True), state="Suspended")
    await story.then(story.lay_over(resources={"nodes": 1}, runPolicy={"suspend": False}), state="Starting")
    await story.then(trains(story, 2, saved=60), state="Running")
    done = lambda world: world.end("demo-2-master-0", story.outcome("succeeded", "Succeeded", attempt=2))  # noqa: E731
    await story.then(done, state="Succeeded")
    assert costs(story) == [(16, 0), (8, 0)], "who is suspended saves, and who succeeds has nothing to repeat"


async def test_prometheus_adds_up_what_the_statuses_tell() -> None:
    story, counted = on_gpus(scheduling={"queue": "team-a"}), Metrics()
    await starts(story, "Queued")
    counted.job(story.key, story.status)
    story.world.advance(HOUR)
    await story.then(queues.admit, state="Starting")
    counted.job(story.key, story.status)
    await story.then(trains(story, 1, saved=600), state="Running")
    counted.job(story.key, story.status)
    await story.then(breaks(story, 1), state="Restarting")
    counted.job(story.key, story.status)
    counted.job(story.key, story.status)
    lines = generate_latest(counted.registry).decode().splitlines()
    assert 'finetune_operator_queue_wait_seconds_sum{namespace="default",queue="team-a"} 3600.0' in lines
    assert 'finetune_operator_attempts_total{namespace="default",reason="CudaError"} 1.0' in lines
    assert f'finetune_operator_gpu_seconds_total{{namespace="default"}} {16.0 * HOUR}' in lines
    assert 'finetune_operator_gpu_seconds_lost_total{namespace="default"} 9600.0' in lines


async def test_who_leaves_while_its_queue_holds_it_took_nothing() -> None:
    story = on_gpus(scheduling={"queue": "team-a"})
    await starts(story, "Queued")
    story.world.advance(HOUR)
    await story.then(story.edit(suspend=True), state="Suspended")
    assert costs(story) == [(0, 0)]
