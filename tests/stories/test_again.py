"""docs/gitops.md: the same manifest applied again, and one that was pruned and is created again."""

from __future__ import annotations

from typing import Any

import pytest
from tests.stories import states, states_before, states_of_attempts, states_of_the_end
from tests.stories.fake_cluster import FakeCluster
from tests.stories.story import Story, nothing

from finetune_operator import spec
from finetune_operator.names import ANNOTATION_SPEC_HASH, KIND

AT_REST = (
    states_before.queued,
    states_before.preparing,
    states_of_attempts.training,
    states_of_attempts.suspended,
    states_of_the_end.succeeded,
    states_of_the_end.exported,
    states_of_the_end.attempts_used_up,
)


def config(story: Story) -> dict[str, Any]:
    found: dict[str, Any] = story.world.objects["ConfigMap", "default", "demo-config"]
    return found


@pytest.mark.parametrize("state", AT_REST, ids=lambda state: state.__name__)
async def test_the_same_manifest_applied_again_restarts_nothing(state: states.State) -> None:
    story = await state()
    writes, status = len(story.world.log), story.status
    await story.then(lambda world: world.put(states.manifest(story.body)))
    assert story.world.log[writes:] == []
    assert story.status == status


async def test_a_trained_job_that_is_created_again_is_done_by_the_record_of_the_first() -> None:
    story = await states_of_the_end.succeeded()
    manifest = states.manifest(story.body)
    first = config(story)["metadata"]["annotations"][ANNOTATION_SPEC_HASH]

    def again(world: FakeCluster) -> None:
        world.remove(KIND, "demo")
        world.put(manifest)

    await story.then(again, state="Starting", attempts=[], pytorchjobs=["demo-1"])
    assert config(story)["metadata"]["annotations"][ANNOTATION_SPEC_HASH] == first
    await story.then(lambda world: world.run(), state="Running")
    await story.then(states_of_the_end.succeeds(story), state="Succeeded", attempt=1, pytorchjobs=["demo-1"])


async def test_what_the_api_server_adds_does_not_make_it_another_spec() -> None:
    story = await states_of_attempts.training()
    ours, theirs = spec.parse(story.body), spec.parse(states.held(story.body))
    assert ours.spec_hash == theirs.spec_hash == config(story)["metadata"]["annotations"][ANNOTATION_SPEC_HASH]
    await story.then(nothing, Accepted="True/Accepted")
