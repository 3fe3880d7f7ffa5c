"""One FineTuneJob from `kubectl apply` to its end, on real nodes: success, death, suspension, deletion, refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import jobs, local_run
from tests.cluster.harness.waiting import ClusterError
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.session import Cluster, SharedFolder

pytestmark = pytest.mark.cluster

LONG = {"num_train_epochs": 4.0}
"""80 steps: long enough to break something in the middle."""


@pytest.fixture
def inputs(operator: OperatorProcess, shared: SharedFolder) -> Path:
    """The claim's folder with model and data, and an operator that runs."""
    jobs.make_inputs(shared.path)
    return shared.path


@pytest.fixture(scope="module")
def unbroken(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """Losses of a long run that nothing happened to, on this machine without a cluster."""
    claim = tmp_path_factory.mktemp("shared")
    jobs.make_inputs(claim)
    wanted = jobs.tiny("unbroken", training=LONG)
    return local_run.losses_of(wanted, {"shared": claim}, tmp_path_factory.mktemp("unbroken"))


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


def test_a_dead_worker_starts_all_ranks_again_from_the_checkpoint(
    machine_cluster: Cluster, namespace: str, inputs: Path, unbroken: dict[int, float]
) -> None:
    job = jobs.submit(machine_cluster, namespace, jobs.tiny("broken", training=LONG))
    job.until_checkpoint()
    job.kill_container("broken-1-worker-0")
    second = job.until("attempt 2", lambda status: status.get("attempt") == 2)
    first = second["attempts"][0]
    assert (first["number"], first["counted"], first["reason"]) == (1, True, "Crashed")
    assert first["checkpointStep"] >= 5
    job.until_state("Succeeded")
    assert_same(jobs.losses(jobs.output(inputs, job)), unbroken)


def test_a_frozen_rank_is_named_with_what_it_was_doing(
    machine_cluster: Cluster, namespace: str, inputs: Path, unbroken: dict[int, float]
) -> None:
    policy = {"maxAttempts": 3, "hangTimeoutSeconds": 15, "terminationGracePeriodSeconds": 60}
    job = jobs.submit(machine_cluster, namespace, jobs.tiny("frozen", training=LONG, runPolicy=policy))
    job.until_checkpoint()
    node = job.pods()["frozen-1-worker-0"]["spec"]["nodeName"]
    job.freeze_rank("frozen-1-worker-0")
    second = job.until("attempt 2", lambda status: status.get("attempt") == 2)
    first = second["attempts"][0]
    assert (first["reason"], first["rank"], first["node"]) == ("RankStopped", 1, node)
    job.until_state("Succeeded")
    found = jobs.output(inputs, job)
    assert "rank 1 (stopped)\nThread" in (found / ".finetune" / "stacks-1-1.txt").read_text()
    assert_same(jobs.losses(found), unbroken)


def test_a_deleted_pod_ends_the_attempt_of_all_ranks(
    machine_cluster: Cluster, namespace: str, inputs: Path, unbroken: dict[int, float]
) -> None:
    job = jobs.submit(machine_cluster, namespace, jobs.tiny("drained", training=LONG))
    job.until_checkpoint()
    machine_cluster.kubectl("-n", namespace, "delete", "pod", "drained-1-worker-0", "--wait=false")
    second = job.until("attempt 2", lambda status: status.get("attempt") == 2)
    assert second["attempts"][0]["reason"] in {"PodDeleted", "PodReplaced", "PodLost"}
    job.until_state("Succeeded")
    assert {name.split("-")[1] for name in job.pods()} == {"2"}
    assert_same(jobs.losses(jobs.output(inputs, job)), unbroken)


def test_a_suspended_job_keeps_its_checkpoint_and_goes_on_from_it(
    machine_cluster: Cluster, namespace: str, inputs: Path, unbroken: dict[int, float]
) -> None:
    job = jobs.submit(machine_cluster, namespace, jobs.tiny("paused", training=LONG))
    job.until_step(3)
    job.patch({"runPolicy": {"suspend": True}})
    job.until_state("Suspended")
    machine_cluster.wait("the pods to go", lambda: not job.pods() or None)
    assert machine_cluster.list("pytorchjobs", namespace) == []
    assert job.condition("Suspended")["status"] == "True"
    assert job.condition("Ready")["status"] == "True"
    saved = sorted(jobs.output(inputs, job).glob("checkpoint-*/finetune.json"))
    assert saved, "the ranks saved together when they were asked to stop"
    job.patch({"runPolicy": {"suspend": False}})
    job.until_state("Succeeded")
    assert [record["counted"] for record in job.status["attempts"]] == [False, False]
    assert_same(jobs.losses(jobs.output(inputs, job)), unbroken)


def test_deleting_a_job_in_the_middle_leaves_nothing(machine_cluster: Cluster, namespace: str, inputs: Path) -> None:
    job = jobs.submit(machine_cluster, namespace, jobs.tiny("gone", training=LONG))
    job.until_step(2)
    machine_cluster.kubectl("-n", namespace, "delete", "ftj", "gone", "--timeout=60s")

    def remains() -> list[str]:
        listed = machine_cluster.kubectl(
            "-n", namespace, "get", "pytorchjobs,pods,services,configmaps", "-o", "name"
        ).split()
        return [name for name in listed if "gone" in name]

    machine_cluster.wait("nothing to remain", lambda: not remains() or None)
    assert jobs.output(inputs, job).exists(), "data on claims is never deleted by us"


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
    token = machine_cluster.kubectl("-n", namespace, "create", "token", "default", "--audience=finetune.dev/intake")
    url = f"{operator.intake_url}/v1/namespaces/{namespace}/jobs/quiet/progress"
    answer = machine_cluster.kubectl(
        "-n", namespace, "exec", "quiet-1-master-0", "-c", "pytorch", "--", "python", "-c", POST, url, token
    )
    assert json.loads(answer)["code"] in {401, 403}


POST = """
import json, sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], b'{"trainerStatus": {}}', {"Authorization": "Bearer " + sys.argv[2]})
try:
    print(json.dumps({"code": urllib.request.urlopen(request, timeout=30).status}))
except urllib.error.HTTPError as error:
    print(json.dumps({"code": error.code}))
"""


def assert_same(found: dict[int, float], expected: dict[int, float]) -> None:
    """The same losses at every step, to 1e-4."""
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, abs=1e-4)
