"""FineTuneJobs as users apply them, and what the tests look at while they run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.tiny_model import make_rows, make_tiny_model

from .harness.images import USER
from .harness.layout import CHECKOUT
from .overlay import python_overlay
from .session import Cluster

ENDED = 420
"""Seconds for a job of a tiny model to end: a busy machine of two cores, two attempts."""
TRAINING: Mapping[str, Any] = {
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "full",
    "template": "llama3",
    "cutoff_len": 128,
    "deepspeed": "zero3",
    "output_dir": "saves/tiny",
    "overwrite_output_dir": True,
    "per_device_train_batch_size": 4,
    "learning_rate": 3.0e-3,
    "num_train_epochs": 2.0,
    "logging_steps": 1,
    "save_steps": 5,
    "seed": 7,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One FineTuneJob in a namespace of a test's own."""

    cluster: Cluster
    namespace: str
    name: str

    def body(self) -> dict[str, Any]:
        """The object as it is now; empty when it is gone."""
        return self.cluster.get("finetunejob", self.name, self.namespace) or {}

    @property
    def status(self) -> dict[str, Any]:
        """Its status as it is now."""
        return dict(self.body().get("status", {}))

    def condition(self, name: str) -> dict[str, Any]:
        """A condition as it is now; empty when there is none."""
        found = (one for one in self.status.get("conditions", []) if one["type"] == name)
        return dict(next(found, {}))

    def until(self, what: str, probe: Callable[[dict[str, Any]], bool], limit: float = ENDED) -> dict[str, Any]:
        """Wait until status is so; returns it. A job that fails ends the wait at once."""

        def look() -> dict[str, Any] | None:
            status = self.status
            assert probe(status) or status.get("state") not in {"Failed", "Rejected"}, json.dumps(status, indent=1)
            return status if probe(status) else None

        return self.cluster.wait(f"{self.name}: {what}", look, limit)

    def until_state(self, state: str, limit: float = ENDED) -> dict[str, Any]:
        """Wait for status.state."""
        return self.until(state, lambda status: status.get("state") == state, limit)

    def until_step(self, step: int) -> dict[str, Any]:
        """Wait until this many steps are done."""
        return self.until(f"step {step}", lambda status: status.get("progress", {}).get("step", 0) >= step)

    def until_checkpoint(self) -> dict[str, Any]:
        """Wait for the first complete checkpoint that status tells of."""
        return self.until("a checkpoint", lambda status: "checkpointStep" in status.get("progress", {}))

    def patch(self, spec: Mapping[str, Any]) -> None:
        """Merge into its spec."""
        self.cluster.kubectl(
            "-n", self.namespace, "patch", "ftj", self.name, "--type=merge", "-p", json.dumps({"spec": spec})
        )

    def pods(self) -> dict[str, dict[str, Any]]:
        """The pods of its ranks by name."""
        selector = f"finetune.dev/job-name={self.name},finetune.dev/role=train"
        found = self.cluster.list("pods", self.namespace, selector)
        return {pod["metadata"]["name"]: pod for pod in found}


def make_inputs(folder: Path, *, rows: int = 160) -> None:
    """A tiny model and a data set, readable for the pods' user."""
    make_tiny_model(folder / "model")
    (folder / "words.json").write_text(json.dumps(make_rows(rows)), encoding="utf-8")
    give(folder)


def give(folder: Path) -> None:
    """Make the pods' user the owner of a folder and all that is in it."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER, USER)


def tiny(name: str, *, training: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A job of two nodes for the tiny model; inputs and output lie on the claim `shared`."""
    return {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": name},
        "spec": {
            "model": {"uri": "pvc://shared/model"},
            "datasets": [{"name": "words", "uri": "pvc://shared/words.json"}],
            "training": {**TRAINING, **(training or {})},
            "resources": {"nodes": 2, "gpusPerNode": 0, "memory": "3Gi"},
            "storage": {"output": {"claimName": "shared"}},
            "runPolicy": {"maxAttempts": 3, "terminationGracePeriodSeconds": 60},
            "podTemplate": overlay(),
            **spec,
        },
    }


def example(name: str) -> dict[str, Any]:
    """A manifest of examples/, with this machine's Python in its pods."""
    found = manifest(name)
    found["spec"]["podTemplate"] = overlay()
    return found


def manifest(name: str) -> dict[str, Any]:
    """A manifest of examples/ as it is."""
    found: dict[str, Any] = yaml.safe_load((CHECKOUT / "examples" / f"{name}.yaml").read_text(encoding="utf-8"))
    return found


def overlay() -> dict[str, Any]:
    """This machine's Python in a pod; two ranks share two cores."""
    template = python_overlay()
    template["spec"]["containers"][0]["env"].append({"name": "OMP_NUM_THREADS", "value": "1"})
    return template


def submit(cluster: Cluster, namespace: str, wanted: dict[str, Any]) -> Job:
    """`kubectl apply`."""
    cluster.apply(wanted, namespace)
    return Job(cluster=cluster, namespace=namespace, name=wanted["metadata"]["name"])


def explained(job: Job) -> str:
    """What `finetune explain` prints of a job, for who has the administrator's kubeconfig."""
    paths = f"{CHECKOUT / 'operator'}:{CHECKOUT / 'trainer_image'}"
    environment = {
        **os.environ,
        "PYTHONPATH": paths,
        "KUBECONFIG": str(job.cluster.kubectl.kubeconfig),
        "COLUMNS": "240",
    }
    argv = [sys.executable, "-m", "finetune_trainer.cli", "explain", job.name, "-n", job.namespace]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def output(folder: Path, job: Job, training: Mapping[str, Any] = TRAINING) -> Path:
    """Where a job's results lie on the claim's folder."""
    return folder / job.namespace / job.name / str(training["output_dir"])


def losses(folder: Path) -> dict[int, float]:
    """Step -> loss of a run; of a step that was made twice, the last one."""
    lines = (folder / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    return {entry["current_steps"]: entry["loss"] for entry in map(json.loads, lines) if "loss" in entry}
