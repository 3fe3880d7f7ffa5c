"""How long a job stands still when a pod dies: a tiny model on the two-node test cluster, ZeRO-3 over gloo."""

from __future__ import annotations

import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import faults, jobs, session
from tests.cluster.harness import cluster, layout
from tests.cluster.jobs import Job
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.session import Cluster

BACKOFF_SECONDS = 1
LONG = {"num_train_epochs": 6.0}
LIMIT = 300
TICK = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Restart:
    """Seconds after the worker's processes were killed."""

    created: float
    """Attempt 2's PyTorchJob."""
    running: float
    """All its pods' containers."""
    step: float
    """Its first step is done: python, torch and DeepSpeed have been imported, the checkpoint has been read."""


def measure(rounds: int) -> list[Restart]:
    """Bring a cluster up, kill one worker in each of `rounds` jobs, take the cluster down."""
    place = layout.default()
    cluster.up(place, nodes=2, kept=True, say=print)
    try:
        with tempfile.TemporaryDirectory() as folder:
            real = session.of_harness(place)
            operator = OperatorProcess(real, Path(folder))
            operator.start({"backoff_seconds": BACKOFF_SECONDS})
            try:
                return [_one(real, f"recovery-{number}") for number in range(rounds)]
            finally:
                operator.stop()
    finally:
        cluster.down(place, print)


def table(restarts: Sequence[Restart]) -> str:
    """Medians and the longest."""
    lines = [f"a worker is killed, {len(restarts)} times; backoff {BACKOFF_SECONDS} s included"]
    for name, what in (("created", "next attempt created"), ("running", "all pods run"), ("step", "first step done")):
        seconds = [getattr(one, name) for one in restarts]
        lines.append(f"{what:22} after {statistics.median(seconds):6.1f} s (at most {max(seconds):.1f})")
    return "\n".join(lines)


def _one(real: Cluster, name: str) -> Restart:
    real.kubectl("create", "namespace", name)
    try:
        shared = real.share(name)
        jobs.make_inputs(shared.path)
        job = jobs.submit(real, name, jobs.tiny("tuned", training=LONG))
        job.until_checkpoint()
        log = jobs.output(shared.path, job) / "trainer_log.jsonl"
        faults.send(signal.SIGKILL, faults.processes(job, "tuned-1-worker-0"))
        return _watched(job, log, time.monotonic())
    finally:
        real.delete_namespace(name)


def _watched(job: Job, log: Path, died: float) -> Restart:
    created = _until(lambda: job.cluster.get("pytorchjob", f"{job.name}-2", job.namespace) is not None)
    known = len(log.read_text(encoding="utf-8").splitlines())
    running = _until(lambda: _all_run(job))
    step = _until(lambda: len(log.read_text(encoding="utf-8").splitlines()) > known)
    return Restart(created=created - died, running=running - died, step=step - died)


def _all_run(job: Job) -> bool:
    pods = [pod for name, pod in job.pods().items() if name.startswith(f"{job.name}-2-")]
    return len(pods) == 2 and all(pod["status"].get("phase") == "Running" for pod in pods)


def _until(probe: Callable[[], bool]) -> float:
    """When it became true, by the monotonic clock."""
    end = time.monotonic() + LIMIT
    while not probe():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {LIMIT} s")
        time.sleep(TICK)
    return time.monotonic()
