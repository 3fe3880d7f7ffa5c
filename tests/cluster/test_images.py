"""The real images, as `make images` builds them: the operator as a Deployment, and a job in the trainer's image."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster import jobs
from tests.cluster.harness.layout import CHECKOUT, Node
from tests.cluster.harness.process import command
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.session import Cluster, SharedFolder

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(3000)]

IMAGE = {"repository": "finetune-trainer", "tag": "0.1.0"}


@pytest.fixture
def images(machine_cluster: Cluster) -> None:
    """Both images, built and on both nodes."""
    builder = CHECKOUT / "images" / "build.py"
    built = subprocess.run([sys.executable, builder], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-4000:]
    print(built.stdout)
    layout = machine_cluster.layout
    assert layout is not None
    for archive in (Path(line.split()[-1]) for line in built.stdout.splitlines()):
        for node in (Node(number=1), Node(number=2)):
            command("ctr", "-a", layout.containerd_socket(node), "-n", "k8s.io", "images", "import", str(archive))


@pytest.fixture
def deployed(machine_cluster: Cluster, images: None, _operator: OperatorProcess) -> Iterator[None]:
    """The operator in the cluster, from deploy/operator, and none beside it."""
    _operator.stop()
    machine_cluster.kubectl("apply", "-k", str(CHECKOUT / "deploy" / "operator"))
    machine_cluster.kubectl(
        "-n", "finetune-system", "rollout", "status", "deployment/finetune-operator", "--timeout=300s"
    )
    yield
    machine_cluster.kubectl("-n", "finetune-system", "delete", "deployment", "finetune-operator", "--timeout=60s")


def test_a_job_trains_in_the_real_image(
    machine_cluster: Cluster, namespace: str, deployed: None, shared: SharedFolder
) -> None:
    jobs.make_inputs(shared.path)
    wanted = jobs.tiny("imaged", image=IMAGE)
    del wanted["spec"]["podTemplate"]
    job = jobs.submit(machine_cluster, namespace, wanted)
    job.until_step(1)
    pod = job.pods()["imaged-1-worker-0"]
    user = machine_cluster.kubectl("-n", namespace, "exec", pod["metadata"]["name"], "-c", "pytorch", "--", "id", "-u")
    assert user.strip() == "1000"
    status = job.until_state("Succeeded")
    print(machine_cluster.kubectl("-n", namespace, "get", "ftj,pods", "-o", "wide"))
    assert status["progress"]["percentage"] == "100%"
    learned = jobs.losses(jobs.output(shared.path, job))
    assert learned[40] < 0.8 * learned[1]
