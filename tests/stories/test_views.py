"""What the watches have not shown yet: a pass may tell less than is so, and never acts on it."""

from __future__ import annotations

from tests.stories.story import Story, job, nothing

SUSPENDED = {"runPolicy": {"suspend": True}}


async def test_an_attempt_is_not_started_beside_pods_that_no_watch_has_shown() -> None:
    story = Story(job())
    await story.then(nothing, state="Starting", pytorchjobs=["demo-1"])
    await story.then(lambda world: world.run(), state="Running")
    story.world.grace = True
    story.world.unseen = {"Pod"}
    await story.then(lambda world: world.put(job(**SUSPENDED)), state="Suspended", pytorchjobs=[])
    await story.then(lambda world: world.put(job()), pytorchjobs=[], pods=["demo-1-master-0"])
    await story.then(lambda world: world.finish_terminating(), pytorchjobs=["demo-2"])


async def test_a_pytorchjob_that_no_watch_has_shown_is_not_started_again() -> None:
    story = Story(job())
    story.world.unseen = {"PyTorchJob", "Pod", "ConfigMap"}
    await story.then(nothing, state="Starting", pytorchjobs=["demo-1"])
    await story.then(lambda world: world.run(), pytorchjobs=["demo-1"])
    assert story.world.log.count("apply PyTorchJob demo-1") == 1


async def test_a_pass_that_only_tells_reads_nothing_live() -> None:
    story = Story(job())
    await story.then(nothing, state="Starting")
    before = story.world.live_reads
    await story.then(lambda world: world.run(), state="Running")
    assert story.world.live_reads == before
