"""What the other cluster tests build on: nodes, GPUs, Python in pods, name service, the training operator, rights."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from tests.cluster.harness.images import TRAINER_IMAGE, USER
from tests.cluster.harness.waiting import ClusterError
from tests.cluster.operator_process import ACCOUNT, NAMESPACE, OperatorProcess
from tests.cluster.overlay import python_overlay
from tests.cluster.session import Cluster, SharedFolder

pytestmark = pytest.mark.cluster

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
VERSIONS = "import os, torch, deepspeed; print(os.getuid(), torch.__version__, deepspeed.__version__)"
ALL_REDUCE = """
import os, pathlib, socket
import torch, torch.distributed as dist
dist.init_process_group("gloo")
rank, value = dist.get_rank(), torch.tensor([float(dist.get_rank() + 1)])
dist.all_reduce(value)
pathlib.Path(f"/shared/rank{rank}").write_text(f"{value.item()} {dist.get_world_size()} {socket.gethostname()}")
dist.barrier()
dist.destroy_process_group()
"""
TORCHRUN = (
    "exec torchrun --nnodes=$PET_NNODES --nproc-per-node=$PET_NPROC_PER_NODE --node-rank=$PET_NODE_RANK"
    " --master-addr=$MASTER_ADDR --master-port=$MASTER_PORT /tmp/job.py"
)


def pod_spec(command: list[str], **fields: Any) -> dict[str, Any]:
    """A restricted pod of the thin image with this machine's Python."""
    spec: dict[str, Any] = python_overlay()["spec"]
    container = {"image": TRAINER_IMAGE, "command": command, "securityContext": RESTRICTED}
    spec["containers"][0] |= container
    return {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1} | spec | fields


def ended(cluster: Cluster, namespace: str, pod: str) -> str | None:
    """A pod's phase when it has ended."""
    found = cluster.get("pod", pod, namespace)
    phase = found["status"].get("phase") if found else None
    return phase if phase in {"Succeeded", "Failed"} else None


def test_both_nodes_advertise_their_gpus(machine_cluster: Cluster) -> None:
    nodes = json.loads(machine_cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    allocatable = {node["metadata"]["name"]: node["status"]["allocatable"]["nvidia.com/gpu"] for node in nodes}
    assert allocatable == {"node1": "8", "node2": "8"}


def test_pods_on_both_nodes_run_torch_and_deepspeed_without_root(machine_cluster: Cluster, namespace: str) -> None:
    pods = {node: f"versions-{node}" for node in ("node1", "node2")}
    for node, name in pods.items():
        spec = pod_spec(["python", "-c", VERSIONS], nodeSelector={"kubernetes.io/hostname": node})
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        machine_cluster.apply(pod, namespace)
    for name in pods.values():
        phase = machine_cluster.wait(f"the end of {name}", partial(ended, machine_cluster, namespace, name))
        log = machine_cluster.kubectl("-n", namespace, "logs", name)
        assert phase == "Succeeded", log
        user, torch, deepspeed = log.splitlines()[-1].split()
        assert user == str(USER)
        assert torch[0].isdigit()
        assert deepspeed[0].isdigit()


def test_a_pytorchjob_reduces_over_two_nodes(cluster: Cluster, namespace: str, shared: SharedFolder) -> None:
    script = f"cat > /tmp/job.py <<'E'\n{ALL_REDUCE}\nE\n{TORCHRUN}"
    spec = pod_spec(["sh", "-c", script])
    spec["volumes"].append({"name": "shared", "persistentVolumeClaim": {"claimName": shared.claim}})
    spec["containers"][0]["volumeMounts"].append({"name": "shared", "mountPath": "/shared"})
    spec["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": 5}}  # two do not fit on one node
    replica = {"replicas": 1, "restartPolicy": "Never", "template": {"spec": spec}}
    job: dict[str, Any] = {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": {"name": "reduce"}}
    job["spec"] = {"nprocPerNode": "1", "pytorchReplicaSpecs": {"Master": replica, "Worker": replica}}
    cluster.apply(job, namespace)

    def last_condition() -> str | None:
        found = cluster.get("pytorchjob", "reduce", namespace) or {}
        conditions = found.get("status", {}).get("conditions", [])
        return next((item["type"] for item in conditions if item["type"] in {"Succeeded", "Failed"}), None)

    outcome = cluster.wait("the end of the PyTorchJob", last_condition, limit=300)
    assert outcome == "Succeeded", cluster.kubectl("-n", namespace, "logs", "reduce-master-0")
    results = {path.name: path.read_text() for path in shared.path.iterdir()}
    assert results == {"rank0": "3.0 2 reduce-master-0", "rank1": "3.0 2 reduce-worker-0"}


def test_the_training_operators_webhook_judges_jobs(cluster: Cluster, namespace: str) -> None:
    container = {"name": "other", "image": TRAINER_IMAGE}
    replica = {"replicas": 1, "template": {"spec": {"containers": [container]}}}
    job = {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": {"name": "wrong"}}
    with pytest.raises(ClusterError, match="pytorch"):
        cluster.apply(job | {"spec": {"pytorchReplicaSpecs": {"Master": replica}}}, namespace)


def test_a_node_is_lost_and_comes_back(machine_cluster: Cluster) -> None:
    machine_cluster.kill_node("node2")
    machine_cluster.kubectl("wait", "--for=condition=Ready=Unknown", "node/node2", "--timeout=120s")
    machine_cluster.start_node("node2")
    node = machine_cluster.get("node", "node2", "default")
    assert node is not None
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "8"
    available = ("wait", "--for=condition=Available", "deploy/training-operator", "--timeout=180s")
    machine_cluster.kubectl("-n", "kubeflow", *available)


@pytest.mark.parametrize(
    ("verb", "resource", "part", "allowed"),
    [
        ("create", "pytorchjobs.kubeflow.org", "", True),
        ("patch", "finetunejobs.finetune.dev", "status", True),
        ("create", "tokenreviews.authentication.k8s.io", "", True),
        ("get", "pods", "log", False),
        ("patch", "finetunejobs.finetune.dev", "", False),
        ("delete", "finetunejobs.finetune.dev", "", False),
        ("get", "secrets", "", False),
        ("delete", "pods", "", False),
        ("delete", "persistentvolumeclaims", "", False),
    ],
)
def test_the_operator_has_the_rights_that_it_needs_and_no_others(
    cluster: Cluster, verb: str, resource: str, part: str, allowed: bool
) -> None:
    who = f"--as=system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
    try:
        answer = cluster.kubectl("auth", "can-i", verb, resource, f"--subresource={part}", "--all-namespaces", who)
    except ClusterError as error:  # kubectl answers "no" with exit code 1
        answer = str(error)
    assert ("yes" in answer.split()) == allowed, answer


def test_our_operator_can_be_killed_and_started_again(operator: OperatorProcess) -> None:
    first = operator.pid
    operator.kill()
    assert operator.pid is None
    operator.start()
    assert operator.pid not in {None, first}
