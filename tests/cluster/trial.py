"""One job that is broken on purpose at a random step, and what must be true of it afterwards."""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer import records

from . import jobs
from .jobs import Job
from .session import Cluster
from .watcher import Watcher

RESULTS = "FINETUNE_FAULT_RESULTS"
"""Variable that names a folder for what was measured; docs/faults.md is made of it."""
SEEDS = 5
FIRST, LAST = 6, 28
"""Steps between which a job of 40 steps is broken: after the first checkpoint, before 70 % of the run."""


class Trial:
    """A job, the step at which to break it, and a watch over its attempts.

    Attributes:
        step: drawn from the seed; `draw` goes on from there.
        job: after `submit`.
        row: what docs/faults.md will tell.
    """

    job: Job

    def __init__(
        self, cluster: Cluster, namespace: str, folder: Path, *, fault: str, seed: int, unbroken: Mapping[int, float]
    ) -> None:
        self.cluster, self.namespace, self.folder = cluster, namespace, folder
        self.unbroken = unbroken
        self.draw = random.Random(f"{fault}, {seed}")
        self.step = self.draw.randint(FIRST, LAST)
        self.watcher = Watcher(cluster, namespace)
        self._broken = 0.0
        self.row: dict[str, Any] = {"fault": fault, "seed": seed, "drawn": self.step}

    @property
    def output(self) -> Path:
        """Where the job writes, on this machine."""
        return jobs.output(self.folder, self.job)

    def submit(self, **spec: Any) -> Job:
        """Start a job of two nodes."""
        self.job = jobs.submit(self.cluster, self.namespace, jobs.tiny("job", **spec))
        return self.job

    def begin(self, **spec: Any) -> Job:
        """Start a job of two nodes, and return when it is at the step at which to break it."""
        self.submit(**spec)
        self.job.until("an attempt", lambda status: "attempt" in status)
        self.until_step(self.step)
        return self.job

    def until_step(self, step: int) -> None:
        """Wait until the job has logged a step; faster than its status, which has to travel."""
        self.cluster.wait(f"step {step} of {self.job.name}", lambda: self.at() >= step or None, jobs.ENDED, step=0.02)

    def at(self) -> int:
        """The last step that was logged."""
        log = self.output / "trainer_log.jsonl"
        return max(jobs.losses(self.output), default=0) if log.exists() else 0

    def pod(self, role: str, attempt: int = 1) -> str:
        """The name of the master's pod, or the worker's."""
        return f"{self.job.name}-{attempt}-{role}-0"

    def node(self, role: str) -> str:
        """Where it runs."""
        return str(self.job.pods()[self.pod(role)]["spec"]["nodeName"])

    def breaks(self) -> None:
        """It is broken now: the clock of its recovery starts."""
        self._broken = time.time()

    def ended(self, *reasons: str, counted: bool | None = None) -> dict[str, Any]:
        """Wait for the first attempt's record in status; it has one of these reasons."""

        def first() -> dict[str, Any] | None:
            found = self.job.status.get("attempts") or [None]
            return dict(found[0]) if found[0] else None

        record = self.cluster.wait("the first attempt's end", first, jobs.ENDED)
        told = ("reason", "rank", "node", "step", "checkpointStep", "message", "counted")
        self.row |= {key: record.get(key) for key in told}
        assert record["reason"] in reasons, json.dumps(record, indent=1)
        assert counted in (None, record["counted"]), json.dumps(record, indent=1)
        return record

    def resumes(self, *, lost: int | None = None, left: Callable[[set[str]], bool] = lambda pods: not pods) -> int:
        """Wait for the second attempt, which goes on from the last complete checkpoint; the step of that.

        Args:
            lost: steps that may be lost; None: as many as there are between two checkpoints.
            left: whether the first attempt's pods that are still there may be.
        """
        created = self.cluster.wait("attempt 2", lambda: self.watcher.created(2), jobs.ENDED)
        complete = max(one.step for one in self.marked())
        reached = self.at()
        assert left(self.watcher.pods_before(2)), self.watcher.pods_before(2)
        self.job.until("attempt 2 to train", lambda status: self._resumed_from() is not None or _over(status))
        assert self._resumed_from() == complete
        assert reached - complete <= (jobs.TRAINING["save_steps"] if lost is None else lost)
        self.row |= {"resumed": complete, "lost": reached - complete, "seconds": round(created - self._broken, 1)}
        return complete

    def succeeds(self) -> None:
        """The job ends as if nothing had happened: its losses, and what it leaves in the cluster."""
        self.job.until_state("Succeeded")
        found = jobs.losses(self.output)
        assert found.keys() == self.unbroken.keys()
        assert found == pytest.approx(self.unbroken, abs=1e-4)
        self.is_alone(attempt=self.job.status["attempt"])
        self.row["difference"] = max(abs(found[step] - self.unbroken[step]) for step in found)
        keep(self.row)

    def fails(self) -> dict[str, Any]:
        """The job ends for good, with its checkpoint kept and nothing that runs."""
        status = self.job.until_state("Failed")
        assert len(status["attempts"]) == 1, "another attempt would end as this one did"
        assert self.marked(), "its checkpoints are kept"
        self.cluster.wait("its pods to end", lambda: not self._running() or None)
        self.is_alone(attempt=1)
        keep(self.row)
        return status

    def goes_on_anew(self, **spec: Any) -> None:
        """The job is deleted and applied again, with changes, and goes on from the last complete checkpoint."""
        complete = max(mark.step for mark in self.marked())
        self.cluster.kubectl("-n", self.namespace, "delete", "ftj", self.job.name, "--timeout=60s")
        self.submit(training={**jobs.TRAINING, "overwrite_output_dir": False}, **spec)
        self.job.until("a step", lambda status: status.get("progress", {}).get("step", 0) > 0)
        assert self._resumed_from(1) == complete
        self.job.until_state("Succeeded")
        assert jobs.losses(self.output) == pytest.approx(self.unbroken, abs=1e-4)

    def is_alone(self, *, attempt: int) -> None:
        """No two attempts lived at a time, and what is left has an owner and belongs to the last one."""
        assert self.watcher.beside_each_other() == []
        kinds = "pytorchjobs,pods,services,configmaps"

        def strays() -> list[str]:
            text = self.cluster.kubectl("-n", self.namespace, "get", kinds, "-o", "json")
            return [found for raw in json.loads(text)["items"] if (found := stray(raw, self.job.name, attempt))]

        self.cluster.wait("nothing of older attempts to be left", lambda: not strays() or None)

    def marked(self) -> list[records.CheckpointMark]:
        """Of the checkpoints that are complete."""
        found = self.output.glob(f"checkpoint-*/{records.CHECKPOINT_MARK}")
        return [records.CheckpointMark.from_json(file.read_text(encoding="utf-8")) for file in found]

    def _resumed_from(self, attempt: int = 2) -> int | None:
        """What an attempt says about where it goes on."""
        master = self.pod("master", attempt)
        if not self.job.pods().get(master, {}).get("status", {}).get("containerStatuses"):
            return None
        log = self.cluster.kubectl("-n", self.namespace, "logs", master, "-c", "pytorch", "--ignore-errors")
        found = re.search(r"goes on from checkpoint-(\d+)", log)
        return int(found[1]) if found else None

    def _running(self) -> list[str]:
        return [name for name, pod in self.job.pods().items() if pod["status"]["phase"] == "Running"]


def keep(row: Mapping[str, Any]) -> None:
    """Write down what was measured, where somebody wants it."""
    if folder := os.environ.get(RESULTS):
        name = f"{re.sub('[^a-z0-9]+', '-', row['fault'])}-{row['seed']}.json"
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / name).write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


def seeds(*, in_ci: bool) -> list[tuple[int, list[pytest.MarkDecorator]]]:
    """Every seed and its marks; one of them in CI, for what is covered nowhere else."""
    return [(seed, [] if in_ci and seed == 0 else [pytest.mark.slow]) for seed in range(SEEDS)]


def _over(status: Mapping[str, Any]) -> bool:
    return status.get("state") == "Succeeded"


def stray(raw: Mapping[str, Any], job: str, attempt: int) -> str | None:
    """An object of the job that has no owner, or is an older attempt's by its name; None for all others."""
    metadata = raw["metadata"]
    if not metadata["name"].startswith(f"{job}-"):
        return None
    numbered = re.match(rf"{job}-(\d+)", metadata["name"])
    is_older = numbered is not None and int(numbered[1]) != attempt
    return f"{raw['kind']} {metadata['name']}" if is_older or not metadata.get("ownerReferences") else None
