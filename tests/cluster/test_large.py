"""examples/telechat3-36b.yaml: as it is on 32 GPUs of simulated nodes, and in its shape with a tiny model for real."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.cluster import jobs, local_run, simulated
from tests.cluster.jobs import Job
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.session import Cluster

from finetune_trainer.records import Preparation

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

EXAMPLE = "telechat3-36b"
GPU_NODES = tuple(f"gpu-{number}" for number in range(1, 5))
A800 = {"cpu": "128", "memory": "2Ti", "ephemeral-storage": "1Ti", "nvidia.com/gpu": "8", "rdma/hca": "1"}
"""What each of the first users' machines has to give."""
MASTER = f"{EXAMPLE}-1-master-0"
PODS = (MASTER, *(f"{EXAMPLE}-1-worker-{number}" for number in range(3)))
EXPECTED = {
    f"job.batch/{EXAMPLE}-prepare",
    f"pod/{EXAMPLE}-prepare",
    f"pytorchjob.kubeflow.org/{EXAMPLE}-1",
    *(f"configmap/{EXAMPLE}-{of}" for of in ("prepare", "config", "1")),
    *(f"{kind}/{name}" for kind in ("pod", "service") for name in PODS),
}
"""Every child, ours and the training operator's."""


def test_the_36b_example_is_bound_to_32_gpus_and_leaves_nothing(
    machine_cluster: Cluster, namespace: str, operator: OperatorProcess
) -> None:
    for claim in ("runs", "models", "datasets"):
        machine_cluster.share(namespace, claim)
    real = ("node1", "node2")
    with (
        simulated.alone(machine_cluster, real),
        simulated.nodes(machine_cluster, GPU_NODES, A800),
        simulated.nodes(machine_cluster, ("cpu-1",), {"cpu": "8", "memory": "32Gi"}, taint=None),
    ):
        job = jobs.submit(machine_cluster, namespace, jobs.manifest(EXAMPLE))
        assert_nothing_takes_a_gpu_before_the_model_is_there(job)
        bound = machine_cluster.wait("four pods to be bound", lambda: _bound(job))
        assert sorted(bound.values()) == sorted(GPU_NODES)
        assert sum(_gpus(pod) for pod in job.pods().values()) == 32
        assert _children(job) == EXPECTED
        machine_cluster.wait("the PyTorchJob's first condition", lambda: "Created" in _conditions(job) or None)
        assert _training_operators_words(job) == {"PET_NNODES": "4", "PET_NPROC_PER_NODE": "8", "WORLD_SIZE": "32"}
        assert_status_tells_what_it_waits_for(job, bound[MASTER])
        assert_the_nodes_are_given_back(job)
        machine_cluster.kubectl("-n", namespace, "delete", "ftj", EXAMPLE, "--timeout=60s")
        machine_cluster.wait("nothing to remain", lambda: not _children(job) or None)


def assert_nothing_takes_a_gpu_before_the_model_is_there(job: Job) -> None:
    """A pod on the machine without GPUs fetches 72 GB; here the kubelet that tells so is simulated."""
    role = "finetune.dev/role=prepare"
    job.until("its preparation", lambda status: status.get("state") == "Preparing")
    [pod] = job.cluster.wait(
        "a pod that prepares",
        lambda: (
            [one for one in job.cluster.list("pods", job.namespace, role) if one["spec"].get("nodeName") == "cpu-1"]
            or None
        ),
    )
    assert job.cluster.list("pytorchjobs", job.namespace) == []
    found = Preparation(
        result="succeeded", reason="Prepared", message="72 GB", retryable=False, model="/models/ms/it", data=True
    )
    simulated.end_pod(job.cluster, job.namespace, pod, found.to_termination_message())
    job.until("an attempt", lambda status: status.get("attempt") == 1)
    assert job.condition("Prepared")["status"] == "True"


def assert_status_tells_what_it_waits_for(job: Job, node: str) -> None:
    """Nobody starts the pods: it says so of each, and that the job is all the same where it should be."""
    told = job.until("each pod's node", lambda status: status.get("message", "").count("has not started it") == 4)
    assert (told["state"], told["attempt"]) == ("Starting", 1)
    assert f"{MASTER}: Scheduled: {node} has not started it" in told["message"]
    expected = {"Accepted": "True", "PodsReady": "False", "Ready": "True"}
    assert {name: job.condition(name)["status"] for name in expected} == expected


def assert_the_nodes_are_given_back(job: Job) -> None:
    """When startTimeoutSeconds is over the job fails, and its pods go."""
    job.patch({"scheduling": {"startTimeoutSeconds": 1}, "runPolicy": {"maxAttempts": 1}})
    late = job.cluster.wait("the job to fail", lambda: job.status if job.status.get("state") == "Failed" else None)
    assert late["attempts"][0]["reason"] == "StartTimeout"
    assert late["attempts"][0]["message"].startswith("0 of 4 pods started within 1 s")
    job.cluster.wait("the pods to go", lambda: not job.pods() or None)


@pytest.fixture(scope="module")
def one_process(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """Losses of the example's shape in one process without DeepSpeed and without a cluster; the same global batch."""
    claim = tmp_path_factory.mktemp("shared")
    jobs.make_inputs(claim, rows=ROWS)
    wanted = shape("one-process", launcher="torchrun")
    wanted["spec"]["resources"] |= {"nodes": 1, "processesPerNode": 1}
    wanted["spec"]["training"] |= {"gradient_accumulation_steps": 8}
    del wanted["spec"]["training"]["deepspeed"]
    return local_run.losses_of(wanted, {"shared": claim}, tmp_path_factory.mktemp("one-process"))


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_its_shape_trains_on_two_nodes_of_two_processes_as_one_process_does(
    machine_cluster: Cluster, namespace: str, operator: OperatorProcess, one_process: dict[int, float], launcher: str
) -> None:
    inputs = machine_cluster.share(namespace).path
    jobs.make_inputs(inputs, rows=ROWS)
    wanted = shape(f"shape-{launcher}", launcher=launcher)
    job = jobs.submit(machine_cluster, namespace, wanted)
    job.until_step(1)
    assert {pod["spec"]["nodeName"] for pod in job.pods().values()} == {"node1", "node2"}
    hosts = [f"shape-{launcher}-1-{pod} slots=2" for pod in ("master-0", "worker-0")]
    assert _file(job, "/job/hostfile").splitlines() == hosts
    assert launcher in _command(job)
    job.until_state("Succeeded")
    found = jobs.output(inputs, job, wanted["spec"]["training"])
    learned = jobs.losses(found)
    assert len(learned) == len(one_process) == 3 * ROWS // 16
    assert learned == pytest.approx(one_process, abs=1e-4)
    assert min(learned.values()) < 0.8 * learned[1]
    assert (found / "model.safetensors").exists()


ROWS = 96


def shape(name: str, *, launcher: str) -> dict[str, Any]:
    """The example with another model, other data and other machines; of what is trained, seven keys are others.

    bf16 rounds otherwise with every split, so it would hide what is looked for; at 1e-5 a tiny model learns nothing.
    """
    wanted = jobs.example(EXAMPLE)
    wanted["metadata"]["name"] = name
    data = {"datasets": [{"name": "words", "uri": "pvc://shared/words.json"}]}
    machines = {"resources": {"nodes": 2, "gpusPerNode": 0, "processesPerNode": 2, "memory": "4Gi"}, "image": {}}
    storage = {"output": {"claimName": "shared"}, "sharedMemory": "1Gi"}
    policy = {"maxAttempts": 1, "terminationGracePeriodSeconds": 60}
    rest = {"storage": storage, "network": {"profile": "tcp"}, "launcher": launcher, "runPolicy": policy}
    wanted["spec"] |= {"model": {"uri": "pvc://shared/model"}, **data, **machines, **rest}
    wanted["spec"]["podTemplate"]["spec"]["topologySpreadConstraints"] = [_apart(name)]
    less = {"dataset": "words", "preprocessing_num_workers": 2, "dataloader_num_workers": 1}
    wanted["spec"]["training"] |= less | {"bf16": False, "learning_rate": 3.0e-3, "logging_steps": 1}
    return wanted


def _apart(name: str) -> dict[str, Any]:
    """Without GPUs the scheduler would put both pods on one node as gladly."""
    selector = {"matchLabels": {"finetune.dev/job-name": name}}
    one_each = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}
    return {**one_each, "labelSelector": selector}


def _bound(job: Job) -> dict[str, str] | None:
    found = {name: pod["spec"].get("nodeName") for name, pod in job.pods().items()}
    return found if len(found) == 4 and all(found.values()) else None


def _gpus(pod: dict[str, Any]) -> int:
    [container] = pod["spec"]["containers"]
    return int(container["resources"]["limits"]["nvidia.com/gpu"])


def _children(job: Job) -> set[str]:
    """Everything of the job in its namespace; the cluster's own ConfigMap is none of it."""
    kinds = "jobs,pytorchjobs,pods,services,configmaps"
    names = job.cluster.kubectl("-n", job.namespace, "get", kinds, "-o", "name").split()
    return {re.sub("(pod/.*-prepare)-.*", r"\1", name) for name in names if job.name in name}


def _conditions(job: Job) -> set[str]:
    found = job.cluster.get("pytorchjob", f"{job.name}-1", job.namespace) or {}
    return {condition["type"] for condition in found.get("status", {}).get("conditions", [])}


def _training_operators_words(job: Job) -> dict[str, str]:
    """What it told the master's ranks about the world."""
    [container] = job.pods()[f"{job.name}-1-master-0"]["spec"]["containers"]
    wanted = ("PET_NNODES", "PET_NPROC_PER_NODE", "WORLD_SIZE")
    return {entry["name"]: entry["value"] for entry in container["env"] if entry["name"] in wanted}


def _file(job: Job, path: str) -> str:
    """A file in the master's container."""
    master = f"{job.name}-1-master-0"
    return job.cluster.kubectl("-n", job.namespace, "exec", master, "-c", "pytorch", "--", "cat", path)


def _command(job: Job) -> str:
    """The command by which the supervisor started the ranks, as it logged it."""
    log = job.cluster.kubectl("-n", job.namespace, "logs", f"{job.name}-1-worker-0", "-c", "pytorch")
    return next(line for line in log.splitlines() if "node 1 of 2:" in line)
