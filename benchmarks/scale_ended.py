"""Ten thousand jobs that have ended: written by the benchmark itself, without an operator, then looked after by ours.

Each is what a success leaves behind: the FineTuneJob with its status, the frozen ConfigMap, and a PyTorchJob that has
succeeded (`managedBy` somebody else, or the training operator would start it). Its pods have been collected.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import aiohttp
import psutil
from benchmarks import scale_objects, scale_usage, scale_watch
from benchmarks.scale_objects import Raw
from tests.cluster.harness.layout import API_PORT, Layout
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.session import Cluster

NAMESPACE = "ended"
WRITERS = 24
FOREIGN = "kueue.x-k8s.io/multikueue"
"""The only other manager that the training operator's webhook takes."""
Request = tuple[str, str, Raw, str]
"""(method, path, body, content type)."""
CREATE, MERGE = "application/json", "application/merge-patch+json"
LIMIT = 900
CALM_SECONDS = 20.0
"""Nothing is asked of the API server for so long: the operator has looked at all there is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Idle:
    """Seconds count from the operator's start."""

    jobs: int
    writing: float
    """Seconds that the benchmark took to write them."""
    healthy: float
    """Until /healthz said ok."""
    answered: float
    """Until a job that was edited while no operator ran had a status of its generation."""
    started: float
    """Until a job that was created meanwhile had its PyTorchJob."""
    settled: float
    """Until the operator had looked at every job and asked no more."""
    peak: float
    """MiB until then."""
    rss: float
    """MiB in the idle time."""
    cpu: float
    """Share of one core in the idle time."""
    calls: float
    """Requests in a minute of the idle time."""


def measure(real: Cluster, operator: OperatorProcess, jobs: int, seconds: float) -> Idle:
    """Write the jobs, edit one, create one, start the operator, and look at it for `seconds` once it is calm."""
    assert real.layout is not None
    begin = time.monotonic()
    write(real, jobs)
    writing = time.monotonic() - begin
    edit = json.dumps({"spec": {"runPolicy": {"maxAttempts": 2}}})
    real.kubectl("-n", NAMESPACE, "patch", "finetunejob", "job-0", "--type=merge", "-p", edit)
    real.apply(scale_objects.finetunejob("late"), NAMESPACE)
    with (
        scale_watch.watched(real.layout, scale_watch.FINETUNEJOBS.format(NAMESPACE), scale_watch.finetunejob) as told,
        scale_watch.watched(real.layout, scale_watch.PYTORCHJOBS.format(NAMESPACE), scale_watch.pytorchjob) as started,
    ):
        begin = time.monotonic()
        operator.start({"resync_seconds": 60})
        healthy = time.monotonic() - begin
        assert operator.pid is not None
        answered = _first(told, "told 2", "job-0") - begin
        created = _first(started, "created", "late-1") - begin
    peak, settled = _calm(operator, operator.pid)
    return Idle(
        jobs=jobs,
        writing=writing,
        healthy=healthy,
        answered=answered,
        started=created,
        settled=settled - begin,
        peak=peak,
        **_idle(operator, operator.pid, seconds),
    )


def write(real: Cluster, jobs: int) -> None:
    """Create the jobs and what is left of them."""
    assert real.layout is not None
    real.kubectl("create", "namespace", NAMESPACE)
    asyncio.run(_write(real.layout, jobs))


async def _write(place: Layout, jobs: int) -> None:
    waiting = iter(scale_objects.many(jobs))
    context = ssl.create_default_context(cafile=str(place.pki / "ca.crt"))
    context.load_cert_chain(place.pki / "admin.crt", place.pki / "admin.key")
    connector = aiohttp.TCPConnector(ssl=context, limit=WRITERS)
    templates = _requests("job-0")
    async with aiohttp.ClientSession(f"https://127.0.0.1:{API_PORT}", connector=connector) as session:
        await asyncio.gather(*(_writer(session, waiting, json.dumps(templates)) for _ in range(WRITERS)))


async def _writer(session: aiohttp.ClientSession, waiting: Iterator[str], template: str) -> None:
    """Takes the next name until none is left; the requests of the first job with another name."""
    for name in waiting:
        for method, path, body, content in json.loads(template.replace("job-0", name)):
            headers = {"Content-Type": content}
            async with session.request(method, path, data=json.dumps(body), headers=headers) as answer:
                if answer.status >= 300:
                    raise RuntimeError(f"{method} {path}: {answer.status} {await answer.text()}")


def _requests(name: str) -> list[Request]:
    """What writes one job."""
    job, status = scale_objects.ended(name, NAMESPACE)
    configmap, *_, pytorchjob = scale_objects.children(name, NAMESPACE)
    for child in (configmap, pytorchjob):
        del child["metadata"]["ownerReferences"]  # of an owner whose uid the API server chooses
        del child["metadata"]["labels"]["finetune.dev/job-uid"]
    pytorchjob["spec"]["runPolicy"]["managedBy"] = FOREIGN
    true = {"type": "Succeeded", "status": "True", "reason": "PyTorchJobSucceeded", "message": "it succeeded"}
    ours = scale_watch.FINETUNEJOBS.format(NAMESPACE)
    theirs = scale_watch.PYTORCHJOBS.format(NAMESPACE)
    return [
        ("POST", ours, job, CREATE),
        ("PATCH", f"{ours}/{name}/status", {"status": status}, MERGE),
        ("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps", configmap, CREATE),
        ("POST", theirs, pytorchjob, CREATE),
        ("PATCH", f"{theirs}/{name}-1/status", {"status": {"conditions": [true], "replicaStatuses": {}}}, MERGE),
    ]


def _first(seen: scale_watch.Seen, mark: str, name: str) -> float:
    end = time.monotonic() + LIMIT
    while (mark, name) not in seen.first:
        if time.monotonic() > end:
            raise TimeoutError(f"{name} is not {mark} within {LIMIT} s")
        time.sleep(0.02)
    return seen.first[mark, name]


def _calm(operator: OperatorProcess, pid: int) -> tuple[float, float]:
    """(the most MiB until it is calm, when it was)."""
    peak, known, since = 0.0, Counter[str](), time.monotonic()
    for _ in itertools.count():
        peak = max(peak, _rss(pid))
        asked = scale_usage.asked(operator.health_url)
        if sum((asked - known).values()) > 2:  # but for the resync's lists
            known, since = asked, time.monotonic()
        if time.monotonic() - since > CALM_SECONDS:
            return peak, since
        time.sleep(0.5)
    raise AssertionError


def _idle(operator: OperatorProcess, pid: int, seconds: float) -> dict[str, float]:
    process = psutil.Process(pid)
    asked, cpu, begin = scale_usage.asked(operator.health_url), sum(process.cpu_times()[:2]), time.monotonic()
    rss = 0.0
    while time.monotonic() - begin < seconds:
        time.sleep(1)
        rss = max(rss, _rss(pid))
    passed = time.monotonic() - begin
    return {
        "rss": rss,
        "cpu": (sum(process.cpu_times()[:2]) - cpu) / passed,
        "calls": sum((scale_usage.asked(operator.health_url) - asked).values()) * 60 / passed,
    }


def _rss(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / 2**20
