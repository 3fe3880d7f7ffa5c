"""`benchmarks.scale` with few jobs, so that it can't rot; its table of a thousand is docs/scale.md."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from benchmarks import scale_burst, scale_ended, scale_tables, scale_usage, scale_wide
from rich.console import Console
from tests.cluster.harness import kwok
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.session import Cluster

pytestmark = pytest.mark.cluster

JOBS = 6
NODES = 3


@pytest.fixture
def crowd(machine_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with nodes of kwok for as long as the test lasts."""
    assert machine_cluster.layout is not None
    kwok.start(machine_cluster.layout, NODES)
    try:
        yield machine_cluster
    finally:
        for namespace in ("ours", scale_wide.NAMESPACE, scale_ended.NAMESPACE):
            machine_cluster.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")
        kwok.stop(machine_cluster.layout)


def test_jobs_at_once_are_started_and_told_with_few_requests(crowd: Cluster, operator: OperatorProcess) -> None:
    burst = scale_burst.ours(crowd, operator, JOBS)
    assert len(burst.to_start) == len(burst.to_tell) == len(burst.to_run) == JOBS
    assert all(seconds > 0 for seconds in (*burst.to_start, *burst.to_tell))
    assert burst.running is not None
    assert burst.asked["patch pytorchjobs"] == JOBS
    assert burst.asked["patch configmaps"] == 2 * JOBS
    assert sum(burst.asked.values()) / JOBS < 25
    shown = io.StringIO()
    Console(width=120, file=shown).print(scale_tables.burst_table(burst, burst))
    [requests] = [line for line in shown.getvalue().splitlines() if "the operator's requests a job" in line]
    assert requests.split("│")[-2].strip() == "1.00", "beside itself"


def test_a_wide_job_runs_and_jobs_that_have_ended_stay_as_they_are(crowd: Cluster, operator: OperatorProcess) -> None:
    wide = scale_wide.measure(crowd, operator, NODES)
    assert 0 < wide.started < wide.running
    assert wide.writes < 3 * NODES
    operator.stop()
    scale_ended.write(crowd, JOBS)
    crowd.wait("their PyTorchJobs", lambda: len(crowd.list("pytorchjobs", scale_ended.NAMESPACE)) == JOBS or None)
    operator.ensure()
    crowd.wait("every job to be looked at", lambda: _looked(operator) >= JOBS or None)
    found = crowd.list("finetunejobs", scale_ended.NAMESPACE)
    assert [job["status"]["state"] for job in found] == ["Succeeded"] * JOBS
    assert len(crowd.list("pytorchjobs", scale_ended.NAMESPACE)) == JOBS


def _looked(operator: OperatorProcess) -> int:
    return scale_usage.asked(operator.health_url)["get finetunejobs"]
