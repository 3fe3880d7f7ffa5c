"""`finetune explain` retells the pass that the operator makes over the same objects."""

from __future__ import annotations

import re

from tests.stories.fake_cluster import FakeCluster
from tests.stories.story import KEY, Story, job, nothing

from finetune_operator.cli import trace


async def told(story: Story) -> list[str]:
    """One line for each aspect, as a person reads it."""
    children = await story.world.children(KEY, ["runs"])
    lines = trace.lines(story.body, children, story.settings, story.world.now)
    return [f"{head}: {words}" for head, words in lines]


def has(lines: list[str], pattern: str) -> bool:
    return any(re.search(pattern, line) for line in lines)


async def running() -> Story:
    story = Story(job(nodes=2))
    await story.then(nothing, state="Starting")
    await story.then(lambda world: world.run(), state="Running")
    return story


async def test_a_job_that_nobody_looked_at_says_so_and_what_a_pass_would_do() -> None:
    lines = await told(Story(job(nodes=2)))
    assert has(lines, "^status: nothing yet")
    assert has(lines, "the operator has not looked at this job yet: is it running")
    assert has(lines, "^asks for: 2 x 1 = 2 ranks, sft, lora, by torchrun")
    assert has(lines, "^decided: Starting")
    assert has(lines, "^: attempt 1 is applied")


async def test_of_a_run_every_policy_is_asked_and_none_speaks() -> None:
    lines = await told(await running())
    assert has(lines, "^judged: succeeded is silent; it speaks of this: The master's supervisor left a completion")
    assert has(lines, "^: start_timed_out is silent")
    assert has(lines, "^: nobody speaks: attempt 1 goes on")
    assert has(lines, "^: demo-1-worker-0 on .*: Running")
    assert has(lines, "^decided: Running")


async def test_the_policy_that_speaks_is_named_and_no_later_one_is_asked() -> None:
    story = await running()
    lost = story.outcome("failed", "CudaError", attempt=1, node_rank=1, message="rank 1: Xid 79")
    story.world.end("demo-1-worker-0", lost, exit_code=1)
    lines = await told(story)
    assert has(lines, "^: pod_failed speaks, and decides: CudaError: rank 1: Xid 79")
    assert not has(lines, "start_timed_out")
    assert has(lines, "left the word failed CudaError")
    assert has(lines, "^decided: Restarting: rank 1: Xid 79")


async def test_what_happened_before_and_what_it_leaves_is_told() -> None:
    story = await running()
    lost = story.outcome("failed", "CudaError", attempt=1, node_rank=1, rank=1, step=7, checkpoint_step=5)

    def fail(world: FakeCluster) -> None:
        world.end("demo-1-worker-0", lost, exit_code=1)

    await story.then(fail, state="Restarting")
    lines = await told(story)
    assert has(lines, "^attempt 1: CudaError, rank 1 on .*, step 7, checkpoint 5; it counts: CudaError")
    assert has(lines, "^failures: 1 of 4")
    assert has(lines, r"^: looks again in \d+ s")


async def test_a_refusal_is_told_with_its_path() -> None:
    story = Story(job(network={"profile": "rocky"}))
    assert has(await told(story), "^refused: spec.network.profile: there is no network profile rocky")


async def test_a_manifest_that_cannot_be_read_is_told_with_every_path() -> None:
    story = Story(job())
    story.body["spec"]["training"] |= {"lerning_rate": 1, "stage": "sftt"}
    lines = await told(story)
    assert has(lines, "^refused: spec.training.lerning_rate: unknown key; did you mean learning_rate")
    assert has(lines, "^refused: spec.training.stage: ")
    assert not has(lines, "^decided")


async def test_an_edit_that_the_door_keeps_out_of_the_next_attempt_is_told() -> None:
    story = await running()
    await story.then(lambda world: world.put(job(nodes=2, runPolicy={"suspend": True})), state="Suspended")
    of_the_node = {"spec": {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}}
    story.world.put(job(nodes=2, podTemplate=of_the_node))
    lines = await told(story)
    assert has(lines, r"^refused: spec\.podTemplate\.spec\.volumes.*hostPath")
    assert not has(lines, "is applied")
