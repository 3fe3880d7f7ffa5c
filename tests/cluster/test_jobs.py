"""One FineTuneJob from `kubectl apply` to its end, on real nodes: success, suspension, deletion, refusal."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import jobs
from tests.cluster.harness.waiting import ClusterError
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.session import Cluster

pytestmark = pytest.mark.cluster


def test_two_nodes_train_together_and_status_tells_of_it(
    machine_cluster: Cluster, namespace: str, inputs: Path
) -> None:
    job = jobs.submit(machine_cluster, namespace, jobs.tiny("demo"))
    seen = job.until_step(1)
    assert seen["state"] == "Running"
    assert (seen["progress"]["totalSteps"], seen["attempt"]) == (40, 1)
    assert float(seen["progress"]["loss"]) > 0
    machine_cluster.kubectl(
        "-n", namespace, "wait", "ftj/demo", "--for=condition=Succeeded", f"--timeout={jobs.ENDED}s"
    )
    status = job.status
    assert (status["state"], status["progress"]["percentage"]) == ("Succeeded", "100%")
    assert status["observedGeneration"] == job.body()["metadata"]["generation"]
    assert "completionTime" in status
    nodes = {pod["spec"]["nodeName"] for pod in job.pods().values()}
    found = jobs.output(inputs, job)
    learned = jobs.losses(found)
    assert len(learned) == 40
    assert learned[40] < 0.8 * learned[1]
    assert (found / "model.safetensors").exists()
    assert (found / "data_report.json").exists()
    assert nodes <= {"node1", "node2"}
    columns = machine_cluster.kubectl("-n", namespace, "get", "ftj", "demo").splitlines()
    assert columns[0].split()[:2] == ["NAME", "STATE"]
    assert columns[1].split()[:3] == ["demo", "Succeeded", "100%"]


def test_a_suspended_job_keeps_its_checkpoint_and_goes_on_from_it(
    machine_cluster: Cluster, namespace: str, inputs: Path, unbroken: dict[int, float]
) -> None:
    job = jobs.submit(machine_cluster, namespace, jobs.tiny("paused"))
    job.until_step(3)
    job.patch({"runPolicy": {"suspend": True}})
    machine_cluster.kubectl(
        "-n", namespace, "wait", "ftj/paused", "--for=condition=Suspended", f"--timeout={jobs.ENDED}s"
    )
    assert job.pods() == {}, "it is True when the nodes are free"
    assert machine_cluster.list("pytorchjobs", namespace) == []
    assert job.condition("Ready")["status"] == "True"
    saved = sorted(jobs.output(inputs, job).glob("checkpoint-*/finetune.json"))
    assert saved, "the ranks saved together when they were asked to stop"
    job.patch({"runPolicy": {"suspend": False}})
    job.until_state("Succeeded")
    assert [record["counted"] for record in job.status["attempts"]] == [False, False]
    assert_same(jobs.losses(jobs.output(inputs, job)), unbroken)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_nodes(
    machine_cluster: Cluster, namespace: str, inputs: Path, unbroken: dict[int, float]
) -> None:
    job = jobs.submit(machine_cluster, namespace, jobs.tiny("resized"))
    for attempt, nodes in ((1, 1), (2, 2)):
        job.until(f"attempt {attempt}", functools.partial(_runs, attempt))
        with pytest.raises(ClusterError, match="only while the job is suspended"):
            job.patch({"resources": {"nodes": nodes}})
        job.patch({"runPolicy": {"suspend": True}})
        job.until_state("Suspended")
        job.patch({"resources": {"nodes": nodes}, "runPolicy": {"suspend": False}})
    job.until_state("Succeeded")
    assert job.condition("Accepted")["reason"] == "Accepted"
    assert [record["reason"] for record in job.status["attempts"]] == ["Suspended", "Suspended", "Succeeded"]
    assert_same(jobs.losses(jobs.output(inputs, job)), unbroken)


def test_deleting_a_job_in_the_middle_leaves_nothing(machine_cluster: Cluster, namespace: str, inputs: Path) -> None:
    job = jobs.submit(machine_cluster, namespace, jobs.tiny("gone"))
    job.until_step(2)
    machine_cluster.kubectl("-n", namespace, "delete", "ftj", "gone", "--timeout=60s")

    def remains() -> list[str]:
        listed = machine_cluster.kubectl(
            "-n", namespace, "get", "pytorchjobs,pods,services,configmaps", "-o", "name"
        ).split()
        return [name for name in listed if "gone" in name]

    machine_cluster.wait("nothing to remain", lambda: not remains() or None)
    assert jobs.output(inputs, job).exists(), "data on claims is never deleted by us"


def test_a_job_that_is_pruned_and_created_again_does_not_train_twice(
    machine_cluster: Cluster, namespace: str, inputs: Path
) -> None:
    """Though its manifest says overwrite_output_dir: the record of the first speaks of the very same spec."""
    wanted = jobs.tiny("again", training={"max_steps": 3, "save_steps": 3})
    first = jobs.submit(machine_cluster, namespace, wanted)
    first.until_state("Succeeded")
    uid, written = first.body()["metadata"]["uid"], _results(jobs.output(inputs, first))
    machine_cluster.kubectl("-n", namespace, "delete", "ftj", "again", "--timeout=60s")

    second = jobs.submit(machine_cluster, namespace, wanted)
    [attempt] = second.until_state("Succeeded")["attempts"]
    assert second.body()["metadata"]["uid"] != uid
    assert (attempt["number"], attempt["step"]) == (1, 3)
    assert _results(jobs.output(inputs, second)) == written, "no file of the result is touched"


def test_an_operator_that_was_killed_goes_on_where_it_was(
    machine_cluster: Cluster, namespace: str, inputs: Path, operator: OperatorProcess
) -> None:
    job = jobs.submit(machine_cluster, namespace, jobs.tiny("orphan"))
    job.until_step(1)
    operator.kill()
    machine_cluster.wait(
        "the PyTorchJob to end",
        lambda: "Succeeded" in machine_cluster.kubectl("-n", namespace, "get", "pytorchjob", "-o", "wide") or None,
        jobs.ENDED,
    )
    told = jobs.explained(job)
    assert "succeeded speaks, and decides: Succeeded" in told, "what the operator will find when it is back"
    assert "status     Running" in told
    operator.start()
    status = job.until_state("Succeeded")
    assert [record["reason"] for record in status["attempts"]] == ["Succeeded"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"training": {**jobs.TRAINING, "learning_rat": 1e-5}}, "spec.training.learning_rat"),
        ({"training": {**jobs.TRAINING, "template": "lama3"}}, "spec.training.template"),
        ({"storage": {"output": {"claimName": "once"}}}, "ReadWriteOnce"),
        ({"storage": {"output": {"claimName": "nowhere"}}}, "nowhere"),
    ],
    ids=["wrong key", "wrong template", "claim of one node", "no claim"],
)
def test_what_cannot_work_is_refused_at_the_door(
    machine_cluster: Cluster, namespace: str, inputs: Path, change: dict[str, Any], path: str
) -> None:
    machine_cluster.share(namespace, "once", mode="ReadWriteOnce")
    job = jobs.submit(machine_cluster, namespace, jobs.tiny("wrong") | {"spec": jobs.tiny("wrong")["spec"] | change})
    machine_cluster.wait("the refusal", lambda: job.condition("Accepted") or None)
    assert path in job.condition("Accepted")["message"]
    assert (job.condition("Accepted")["status"], job.condition("Stalled")["status"]) == ("False", "True")
    assert job.status["state"] == "Rejected"
    assert machine_cluster.list("pytorchjobs", namespace) == []


def test_a_queue_without_kueue_is_told(
    cluster: Cluster, namespace: str, operator: OperatorProcess, inputs: Path
) -> None:
    job = jobs.submit(cluster, namespace, jobs.tiny("queued", scheduling={"queue": "team-a"}))
    status = job.until("to be told", lambda status: "Kueue is not installed" in status.get("message", ""))
    assert (status["state"], job.condition("Stalled")["reason"]) == ("Queued", "KueueUnreadable")
    assert job.pods() == {}


def test_host_paths_are_refused_where_the_owner_forbids_them(
    machine_cluster: Cluster, namespace: str, operator: OperatorProcess
) -> None:
    operator.ensure({"allow_host_path": False})
    job = jobs.submit(machine_cluster, namespace, jobs.tiny("bold"))
    machine_cluster.wait("the refusal", lambda: job.condition("Accepted") or None)
    assert "hostPath" in job.condition("Accepted")["message"]
    operator.ensure()


def test_a_data_set_that_is_not_there_ends_the_job_with_its_path(
    machine_cluster: Cluster, namespace: str, inputs: Path
) -> None:
    wanted = jobs.tiny("empty", datasets=[{"name": "words", "uri": "pvc://shared/nowhere.json"}])
    job = jobs.submit(machine_cluster, namespace, wanted)
    status = machine_cluster.wait(
        "the job to fail", lambda: job.status if job.status.get("state") == "Failed" else None, jobs.ENDED
    )
    assert "/claims/shared/nowhere.json" in status["message"]
    assert len(status["attempts"]) == 1, "another attempt would not find it either"


def test_the_api_server_refuses_what_the_schema_knows(machine_cluster: Cluster, namespace: str) -> None:
    with pytest.raises(ClusterError, match="nodes"):
        jobs.submit(machine_cluster, namespace, jobs.tiny("none", resources={"nodes": 0}))


def test_a_foreign_pod_cannot_post_progress(
    machine_cluster: Cluster, namespace: str, inputs: Path, operator: OperatorProcess
) -> None:
    job = jobs.submit(machine_cluster, namespace, jobs.tiny("quiet"))
    job.until_step(1)
    token = machine_cluster.kubectl(
        "-n", namespace, "create", "token", "default", f"--audience=finetune.dev/intake/{namespace}/quiet"
    )
    url = f"{operator.intake_url}/v1/namespaces/{namespace}/jobs/quiet/progress"
    answer = machine_cluster.kubectl(
        "-n", namespace, "exec", "quiet-1-master-0", "-c", "pytorch", "--", "python", "-c", POST, url, token
    )
    assert json.loads(answer)["code"] == 401, "of an account, and of no pod"


POST = """
import json, sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], b'{"trainerStatus": {}}', {"Authorization": "Bearer " + sys.argv[2]})
try:
    print(json.dumps({"code": urllib.request.urlopen(request, timeout=30).status}))
except urllib.error.HTTPError as error:
    print(json.dumps({"code": error.code}))
"""


def _runs(attempt: int, status: dict[str, Any]) -> bool:
    return (status.get("attempt"), status.get("state")) == (attempt, "Running")


def assert_same(found: dict[int, float], expected: dict[int, float]) -> None:
    """The same losses at every step, to 1e-4."""
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, abs=1e-4)


def _results(folder: Path) -> dict[str, int]:
    """What a run has written, and when; without what each attempt says of itself."""
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    found = {str(path.relative_to(folder)): time for path, time in files.items()}
    assert "model.safetensors" in found
    return {name: time for name, time in found.items() if not name.startswith(".finetune/outcome-")}
