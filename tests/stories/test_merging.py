"""What happens after the last attempt: the Job that merges, its failures, and who asks for it late."""

from __future__ import annotations

from typing import Any

from tests.stories.fake_cluster import FakeCluster
from tests.stories.story import Change, Story, job, nothing

from finetune_operator import names
from finetune_trainer.records import Exported

FOLDER = "/output/default/demo/out/merged"


def merged(**spec: Any) -> dict[str, Any]:
    """A job whose adapter is merged."""
    return job(**{"export": {"merge": True, "memory": "8Gi"}, **spec})


def trained(story: Story) -> Change:
    """Attempt 1 succeeds."""

    def change(world: FakeCluster) -> None:
        world.run()
        world.end("demo-1-master-0", story.outcome("succeeded", "Succeeded", attempt=1))

    return change


def ends(**said: Any) -> Change:
    """A pod of the Job leaves this."""
    found = Exported(**{"result": "succeeded", "reason": "Exported", "message": "", "retryable": False, **said})
    return lambda world: world.end_job(found, "demo-export")


async def begun(manifest: dict[str, Any]) -> Story:
    story = Story(manifest)
    await story.then(nothing, state="Starting", jobs=[])
    return story


async def test_a_trained_job_is_done_when_it_is_merged() -> None:
    story = await begun(merged())
    await story.then(
        trained(story), state="Exporting", jobs=["demo-export"], Succeeded="Unknown", Ready="True", Exported="False",
        completionTime=None,
    )  # fmt: skip
    pod = story.world.objects["Job", "default", "demo-export"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] == ["finetune", "export", "--in-job"]
    assert container["resources"] == {"requests": {"memory": "8Gi"}}
    (config,) = [volume for volume in pod["volumes"] if volume["name"] == "config"]
    assert config["projected"]["sources"] == [{"configMap": {"name": "demo-config"}}]
    assert not [volume for volume in pod["volumes"] if volume["name"] == "token"]
    await story.then(ends(folder=FOLDER), state="Succeeded", Succeeded="True", Exported="True", exportedModel=FOLDER)
    assert story.status["completionTime"]
    assert [reason for reason, _ in story.world.events][-2:] == ["Exported", "Succeeded"]
    gone = lambda world: world.remove("Job", "demo-export")  # noqa: E731 - a change among others
    await story.then(gone, state="Succeeded", jobs=[], Exported="True", exportedModel=FOLDER)


async def test_a_full_disk_is_tried_again_and_status_says_so() -> None:
    story = await begun(merged())
    await story.then(trained(story), state="Exporting")
    await story.then(
        ends(result="failed", reason="Crashed", message="no space left on device", retryable=True), state="Exporting"
    )
    assert "the export is tried again, after 1 failures: no space left" in story.status["message"]
    await story.then(ends(folder=FOLDER), state="Succeeded")


async def test_a_mistake_ends_the_job_until_it_is_mended_and_nothing_is_trained_again() -> None:
    story = await begun(merged())
    await story.then(trained(story), state="Exporting")
    wrong = ends(result="failed", reason="ModelInvalid", message="the base is quantised")
    await story.then(
        wrong, state="Failed", Ready="False", Stalled="True", Succeeded="False/ModelInvalid", Exported="False"
    )
    assert story.status["message"].startswith("trained, and not exported: the base is quantised")
    assert "kubectl delete job demo-export" in story.status["message"]
    await story.then(lambda world: world.remove("Job", "demo-export"), state="Exporting", jobs=["demo-export"])
    await story.then(ends(folder=FOLDER), state="Succeeded", Ready="True", attempt=1, pytorchjobs=["demo-1"])


async def test_who_asks_for_it_late_gets_it() -> None:
    story = await begun(job())
    await story.then(trained(story), state="Succeeded", jobs=[], Exported=None)
    ask = story.lay_over(export={"merge": True})
    await story.then(ask, state="Exporting", jobs=["demo-export"], Accepted="True")
    await story.then(ends(folder=FOLDER), state="Succeeded", exportedModel=FOLDER)


async def test_a_job_that_failed_has_nothing_to_export() -> None:
    story = await begun(merged(runPolicy={"maxAttempts": 1}))

    def fails(world: FakeCluster) -> None:
        world.run()
        world.end("demo-1-master-0", story.outcome("failed", "LossNotFinite", attempt=1, retryable=False))

    await story.then(fails, state="Failed", jobs=[], Exported=None)


async def test_its_children_carry_the_job_and_no_attempt() -> None:
    story = await begun(merged())
    await story.then(trained(story), state="Exporting")
    metadata = story.world.objects["Job", "default", "demo-export"]["metadata"]
    assert metadata["labels"][names.LABEL_ROLE] == names.ROLE_EXPORT
    assert names.LABEL_ATTEMPT not in metadata["labels"]
    assert metadata["ownerReferences"][0]["controller"] is True
