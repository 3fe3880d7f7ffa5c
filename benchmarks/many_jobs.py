"""`make bench-jobs`: 200 FineTuneJobs at once on a real API server, beside 200 bare PyTorchJobs in the same run.

Seconds from the first object's creation until every job has its PyTorchJob and a status of its generation, and until
every bare PyTorchJob has passed the training operator's webhook; the operator's memory before and after. No kubelets:
pods stay Pending, the control plane and both operators are real.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table
from tests.cluster import jobs, session
from tests.cluster.harness import cluster, layout
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.session import Cluster

COUNT = 200
LIMIT = 300
TRAINING = {**jobs.TRAINING, "model_name_or_path": "/models/tiny", "dataset": "identity"}


def main() -> None:
    """Bring a control plane up, measure, take it down, and print the table."""
    place = layout.default()
    cluster.up(place, nodes=0, kept=True, say=print)
    try:
        with tempfile.TemporaryDirectory() as folder:
            report(*measure(session.of_harness(place), Path(folder)))
    finally:
        cluster.down(place, print)


def measure(real: Cluster, folder: Path) -> tuple[float, float, float, float]:
    """(seconds of ours, seconds of the peer, MiB before, MiB after)."""
    operator = OperatorProcess(real, folder)
    operator.start()
    try:
        assert operator.pid is not None
        process = psutil.Process(operator.pid)
        before = process.memory_info().rss / 2**20
        ours = timed(real, "ours", [job(f"job-{number}") for number in range(COUNT)], all_current)
        after = process.memory_info().rss / 2**20
        rendered = real.list("pytorchjobs", "ours")[0]["spec"]
        real.delete_namespace("ours")
        peer = timed(real, "peer", [bare(f"job-{number}", rendered) for number in range(COUNT)], all_created)
    finally:
        operator.stop()
    return ours, peer, before, after


def timed(
    real: Cluster, namespace: str, manifests: list[dict[str, Any]], done: Callable[[Cluster, str], bool]
) -> float:
    """Create the manifests with one kubectl, and wait."""
    real.kubectl("create", "namespace", namespace)
    started = time.monotonic()
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    real.kubectl("-n", namespace, "create", "-f", "-", stdin=text)
    real.wait(f"{COUNT} jobs", lambda: done(real, namespace) or None, LIMIT)
    return time.monotonic() - started


def job(name: str) -> dict[str, Any]:
    """A FineTuneJob of two nodes."""
    manifest = jobs.tiny(name, training=TRAINING)
    for key in ("model", "datasets", "storage", "podTemplate"):
        del manifest["spec"][key]
    manifest["spec"]["resources"]["nodes"] = 1
    return manifest


def bare(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The PyTorchJob that the operator made of such a job."""
    return {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": {"name": name}, "spec": spec}


def all_current(real: Cluster, namespace: str) -> bool:
    """Every FineTuneJob has a PyTorchJob, and a status of its generation."""
    found = real.list("finetunejobs", namespace)
    current = [one for one in found if one["status"].get("observedGeneration") == one["metadata"]["generation"]]
    started = [one for one in current if one["status"].get("attempt") == 1]
    return len(started) == COUNT and len(real.list("pytorchjobs", namespace)) == COUNT


def all_created(real: Cluster, namespace: str) -> bool:
    """Every PyTorchJob is there."""
    return len(real.list("pytorchjobs", namespace)) == COUNT


def report(ours: float, peer: float, before: float, after: float) -> None:
    """The table."""
    table = Table("what", "FineTuneJob", "bare PyTorchJob", "ratio")
    table.add_row(f"seconds until all {COUNT} are started", f"{ours:.1f}", f"{peer:.1f}", f"{ours / peer:.2f}")
    table.add_row("operator's memory in MiB", f"{before:.0f} -> {after:.0f}", "", "")
    Console().print(table)


if __name__ == "__main__":
    main()
