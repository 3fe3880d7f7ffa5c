"""Many jobs at once, created by one kubectl: who of the three answers how soon, and what it costs.

`ours`: FineTuneJobs and our operator. `kopf`: the same jobs and a bare kopf handler (scale_kopf). `bare`: the
PyTorchJobs that they lead to, for the training operator alone.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import scale_objects, scale_usage, scale_watch
from benchmarks.scale_usage import Usage
from benchmarks.scale_watch import Seen
from tests.cluster.harness.layout import CHECKOUT
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.session import Cluster

LIMIT = 900
TICK = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Burst:
    """One round. Seconds count from the last create that the API server told of, unless said otherwise."""

    jobs: int
    creating: float
    """Seconds from the first create to the last: what kubectl took."""
    started: float | None
    """Until all had a PyTorchJob; None where the PyTorchJobs are what was created."""
    told: float
    """Until all had a status: of their generation, or the training operator's first condition."""
    running: float | None
    """Until all were told to run; None where nobody waited for it."""
    to_start: tuple[float, ...]
    """Of each job: from its creation to its PyTorchJob's."""
    to_tell: tuple[float, ...]
    """Of each job: from its creation to that first status."""
    to_run: tuple[float, ...]
    """Of each PyTorchJob: from its creation to the training operator's Running."""
    used: Usage
    writes: float
    """Changes of a FineTuneJob after its creation, per job: the status writes."""
    asked: Counter[str]
    """The measured operator's own requests, where it counts them."""


def ours(
    real: Cluster, operator: OperatorProcess, jobs: int, namespace: str = "ours", *, until_running: bool = True
) -> Burst:
    """FineTuneJobs, and an operator that runs."""
    assert operator.pid is not None
    before = scale_usage.asked(operator.health_url)
    manifests = [scale_objects.finetunejob(name) for name in scale_objects.many(jobs)]

    def asked() -> Counter[str]:
        return scale_usage.asked(operator.health_url) - before

    return _created(real, namespace, manifests, operator.pid, asked, until_running=until_running)


def bare(real: Cluster, jobs: int, namespace: str = "bare", *, until_running: bool = True) -> Burst:
    """PyTorchJobs, and nobody but the training operator."""
    manifests = [scale_objects.pytorchjob(name, namespace) for name in scale_objects.many(jobs)]
    return _created(real, namespace, manifests, None, Counter, until_running=until_running)


def kopf(real: Cluster, jobs: int, folder: Path, namespace: str = "kopf") -> Burst:
    """FineTuneJobs, and a bare handler, which tells of no more than the start."""
    with _bare_handler(real, folder, namespace) as pid:
        manifests = [scale_objects.finetunejob(name) for name in scale_objects.many(jobs)]
        return _created(real, namespace, manifests, pid, Counter, until_running=False)


def _created(  # noqa: PLR0913 - each is another thing
    real: Cluster,
    namespace: str,
    manifests: list[scale_objects.Raw],
    pid: int | None,
    asked: Callable[[], Counter[str]],
    *,
    until_running: bool,
) -> Burst:
    """Create the manifests with one kubectl, and watch."""
    place, count = real.layout, len(manifests)
    assert place is not None
    real.kubectl("create", "namespace", namespace)
    are_ours = manifests[0]["kind"] == "FineTuneJob"
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    with (
        scale_watch.watched(place, scale_watch.FINETUNEJOBS.format(namespace), scale_watch.finetunejob) as told,
        scale_watch.watched(place, scale_watch.PYTORCHJOBS.format(namespace), scale_watch.pytorchjob) as started,
    ):
        before = scale_usage.now(place, pid)
        real.kubectl("-n", namespace, "create", "-f", "-", stdin=text)
        created = told if are_ours else started
        running = ((started, "Running"), (created, "Running")) if until_running else ()
        first_told = (told, "told") if are_ours else (started, "Created")
        _wait(count, (created, "created"), (started, "created"), first_told, *running)
        used = scale_usage.now(place, pid).since(before)
    return _burst(told if are_ours else None, started, used, asked())


def _burst(told: Seen | None, started: Seen, used: Usage, asked: Counter[str]) -> Burst:
    created = (told or started).times("created")
    last = max(created.values())
    pytorchjobs, running = started.times("created"), started.times("Running")
    first_told = told.times("told") if told else started.times("Created")
    to_start = [when - created[name.rpartition("-")[0]] for name, when in pytorchjobs.items()] if told else []
    ended = (told.times("Running") if told else {}) or running
    return Burst(
        jobs=len(created),
        creating=last - min(created.values()),
        started=max(pytorchjobs.values()) - last if told else None,
        told=max(first_told.values()) - last,
        running=max(ended.values()) - last if len(ended) == len(created) else None,
        to_start=tuple(to_start),
        to_tell=tuple(when - created[name] for name, when in first_told.items()),
        to_run=tuple(when - pytorchjobs[name] for name, when in running.items()),
        used=used,
        writes=statistics.mean(told.changes.values()) - 1 if told else 0.0,
        asked=asked,
    )


def _wait(count: int, *wanted: tuple[Seen, str]) -> None:
    """Until each of these marks is true of so many objects."""
    end = time.monotonic() + LIMIT
    while lacking := [f"{mark} {seen.count(mark)}" for seen, mark in wanted if seen.count(mark) < count]:
        if time.monotonic() > end:
            raise TimeoutError(f"not within {LIMIT} s: {', '.join(lacking)} of {count}")
        time.sleep(TICK * 10)


@contextmanager
def _bare_handler(real: Cluster, folder: Path, namespace: str) -> Iterator[int]:
    """The bare handler as a process."""
    configmap, *_, pytorchjob = scale_objects.children("job", namespace)
    files: list[Path] = []
    for name, template in (("configmap", configmap), ("pytorchjob", pytorchjob)):
        files.append(folder / f"{name}.json")
        files[-1].write_text(json.dumps(template), encoding="utf-8")
    environment = {**os.environ, "KUBECONFIG": str(real.kubectl.kubeconfig), "PYTHONPATH": _path()}
    with (real.logs / "bare-kopf.log").open("ab") as log:
        argv = [sys.executable, "-m", "benchmarks.scale_kopf", *map(str, files)]
        process = subprocess.Popen(argv, stdout=log, stderr=log, env=environment)
    try:
        real.wait("the bare handler to watch", lambda: "authentication has finished" in log_of(real) or None)
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def log_of(real: Cluster) -> str:
    """What the bare handler printed."""
    return (real.logs / "bare-kopf.log").read_text(encoding="utf-8")


def _path() -> str:
    return ":".join(str(CHECKOUT / part) for part in ("operator", "trainer_image", "."))


def share(values: Iterable[float], part: float) -> float | None:
    """The value below which this part of all lies; None of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else None
