"""What happens before attempt 1: the Job that prepares, its failures, its verdict, and a change in the middle."""

from __future__ import annotations

from typing import Any

from tests.stories.fake_cluster import FakeCluster
from tests.stories.story import Change, Story, claim, job, nothing

from finetune_operator import names
from finetune_trainer.records import Preparation, Progress

CACHED = {"output": {"claimName": "runs"}, "cache": {"claimName": "models"}}
FOLDER = "/models/hf/org/tiny/0123456789"


def remote(**spec: Any) -> dict[str, Any]:
    """A job whose model lies at a hub, and that has a cache to share."""
    return job(**{"model": {"uri": "hf://org/tiny"}, "storage": CACHED, **spec})


def begun(manifest: dict[str, Any]) -> Story:
    story = Story(manifest)
    story.world.put(claim("models"))
    return story


def ends(result: str = "succeeded", reason: str = "Prepared", **more: Any) -> Change:
    """A pod of the Job leaves this."""
    values = {"message": f"{reason} it is", "retryable": False, **more}
    found = Preparation(result="succeeded" if result == "succeeded" else "failed", reason=reason, **values)

    def change(world: FakeCluster) -> None:
        world.end_job(found, "demo-prepare")

    return change


def train_file(story: Story) -> str:
    text: str = story.world.objects["ConfigMap", "default", "demo-config"]["data"]["train.yaml"]
    return text


async def test_no_gpu_is_taken_before_the_model_is_there() -> None:
    story = begun(remote())
    await story.then(nothing, state="Preparing", jobs=["demo-prepare"], pytorchjobs=[], Prepared="False", Ready="True")
    progress = Progress(
        time=0, phase="fetching", fetched_bytes=31_200_000_000, total_bytes=72_100_000_000, remaining_seconds=90
    )
    story.post(0, progress)
    await story.rest()
    assert story.status["progress"]["fetched"] == "31.2 of 72.1 GB"
    assert (story.status["progress"]["percentage"], story.status["progress"]["eta"]) == ("43%", "1m 30s")
    await story.then(
        ends(model=FOLDER, rows=12, tokens=345), state="Starting", pytorchjobs=["demo-1"], Prepared="True"
    )
    assert f"model_name_or_path: {FOLDER}\n" in train_file(story)
    assert story.status["preparation"] == {"model": FOLDER, "rows": 12, "tokens": 345}
    assert "progress" not in story.status
    assert [reason for reason, _ in story.world.events] == ["AttemptStarted", "Prepared"]


async def test_what_was_prepared_is_remembered_when_the_job_that_did_it_is_gone() -> None:
    story = begun(remote())
    await story.then(nothing, state="Preparing")
    await story.then(ends(model=FOLDER), state="Starting")
    await story.then(lambda world: world.remove("Job", "demo-prepare"), state="Starting", Prepared="True", jobs=[])
    assert story.status["preparation"] == {"model": FOLDER}


async def test_a_hub_that_is_away_is_asked_again_and_status_says_so() -> None:
    story = begun(remote())
    await story.then(nothing, state="Preparing")
    away = ends("failed", "SourceDown", message="the hub does not answer", retryable=True)
    await story.then(away, state="Preparing", Ready="True")
    assert "the hub does not answer" in story.status["message"]
    await story.then(ends(model=FOLDER), state="Starting")


async def test_a_mistake_ends_the_job_until_it_is_mended() -> None:
    story = begun(remote())
    await story.then(nothing, state="Preparing")
    wrong = ends("failed", "AccessDenied", message="hf://org/tiny: the token is wrong")
    await story.then(
        wrong, state="Failed", pytorchjobs=[], Ready="False", Stalled="True", Succeeded="False/AccessDenied"
    )
    assert "the token is wrong" in story.status["message"]
    assert "kubectl delete job demo-prepare" in story.status["message"]
    await story.then(lambda world: world.remove("Job", "demo-prepare"), state="Preparing", jobs=["demo-prepare"])
    await story.then(ends(model=FOLDER), state="Starting", Ready="True")


async def test_what_does_not_fit_never_takes_a_gpu() -> None:
    story = begun(remote(resources={"nodes": 1, "gpusPerNode": 8, "gpuMemory": "80Gi"}))
    await story.then(nothing, state="Preparing")
    verdict = ends(
        model=FOLDER, fits=False, memory=113 << 30, message="does not fit", instead="this fits: deepspeed: zero3"
    )
    await story.then(verdict, state="Failed", pytorchjobs=[], Succeeded="False/DoesNotFit", Prepared="True")
    assert "this fits: deepspeed: zero3" in story.status["message"]

    def insist(world: FakeCluster) -> None:
        story.body["metadata"].setdefault("annotations", {})[names.ANNOTATION_IGNORE_MEMORY] = "true"

    await story.then(insist, state="Starting", pytorchjobs=["demo-1"])


async def test_a_well_known_model_that_does_not_fit_is_not_even_fetched() -> None:
    gpus = {"nodes": 1, "gpusPerNode": 8, "gpuMemory": "80Gi"}
    story = begun(remote(model={"uri": "hf://Qwen/Qwen2.5-72B"}, resources=gpus))
    await story.then(nothing, state="Rejected", jobs=[], pytorchjobs=[], Accepted="False", Ready="False")
    assert "spec.resources.gpuMemory: 72.71 B parameters, does not fit" in story.status["message"]

    def insist(world: FakeCluster) -> None:
        story.body["metadata"].setdefault("annotations", {})[names.ANNOTATION_IGNORE_MEMORY] = "true"

    await story.then(insist, state="Preparing", jobs=["demo-prepare"], Accepted="True")


async def test_a_change_in_the_middle_is_prepared_anew() -> None:
    story = begun(remote())
    await story.then(nothing, state="Preparing")
    before = story.world.objects["Job", "default", "demo-prepare"]["metadata"]["uid"]
    changed = remote(model={"uri": "hf://org/other"})
    await story.then(lambda world: world.put(changed), state="Preparing", jobs=["demo-prepare"])
    after = story.world.objects["Job", "default", "demo-prepare"]["metadata"]["uid"]
    assert before != after


async def test_a_suspended_job_stops_preparing_and_goes_on_later() -> None:
    story = begun(remote())
    await story.then(nothing, state="Preparing")
    await story.then(story.edit(suspend=True), state="Suspended", jobs=[])
    await story.then(story.edit(suspend=False), state="Preparing", jobs=["demo-prepare"])


async def test_data_are_tokenised_before_gpus_are_taken_and_not_for_cpus() -> None:
    story = Story(job(resources={"nodes": 1, "gpusPerNode": 8}))
    await story.then(nothing, state="Preparing", jobs=["demo-prepare"])
    await story.then(ends(data=True, rows=12, tokens=99), state="Starting", pytorchjobs=["demo-1"])
    run = story.world.objects["ConfigMap", "default", "demo-config"]["data"]["run.json"]
    assert '"data_prepared": true' in run
    await Story(job()).then(nothing, state="Starting", jobs=[])


async def test_without_a_cache_each_pod_fetches_for_itself() -> None:
    story = Story(job(model={"uri": "ms://org/tiny", "revision": "v1"}))
    await story.then(nothing, state="Starting", jobs=[], pytorchjobs=["demo-1"])
    replica = story.world.objects["PyTorchJob", "default", "demo-1"]["spec"]["pytorchReplicaSpecs"]["Master"]
    (fetching,) = replica["template"]["spec"]["initContainers"]
    assert fetching["command"] == [
        "finetune", "fetch", "ms://org/tiny@v1", "--cache", "/models", "--link", "/models/model"
    ]  # fmt: skip
    assert "model_name_or_path: /models/model\n" in train_file(story)
