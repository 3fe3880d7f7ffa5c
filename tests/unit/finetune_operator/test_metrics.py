"""What /metrics and /healthz answer."""

from __future__ import annotations

import math
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.exposition import generate_latest

from finetune_operator import metrics
from finetune_operator.names import Key


async def test_what_was_counted_is_shown() -> None:
    counted = metrics.Metrics()
    counted.passed("ok", 0.03)
    counted.passed("error", 2.0)
    counted.posted(403)
    counted.asked("patch", "finetunejobs/status", 200)
    counted.watch_queue(lambda: 5)
    counted.job(Key("team", "a"), {"state": "Running"})
    counted.job(Key("team", "b"), {"state": "Running"})
    counted.job(Key("team", "b"), {"state": "Failed"})
    counted.job(Key("team", "c"), {"state": "Queued"})
    counted.job(Key("team", "c"), None)
    async with TestClient(TestServer(metrics.app(counted, lambda: None))) as client:
        lines = (await (await client.get("/metrics")).text()).splitlines()
    assert 'finetune_operator_passes_total{result="ok"} 1.0' in lines
    assert 'finetune_operator_pass_duration_seconds_bucket{le="0.05"} 1.0' in lines
    assert 'finetune_operator_intake_posts_total{code="403"} 1.0' in lines
    patched = 'finetune_operator_api_requests_total{code="200",resource="finetunejobs/status",verb="patch"} 1.0'
    assert patched in lines
    assert "finetune_operator_queue_depth 5.0" in lines
    jobs = [line for line in lines if line.startswith("finetune_operator_jobs{")]
    assert jobs == ['finetune_operator_jobs{state="Failed"} 1.0', 'finetune_operator_jobs{state="Running"} 1.0']


async def test_health_says_what_is_wrong() -> None:
    wrong: list[str] = []
    app = metrics.app(metrics.Metrics(), lambda: wrong[0] if wrong else None)
    async with TestClient(TestServer(app)) as client:
        assert (await client.get("/healthz")).status == 200
        wrong.append("the work queue has stopped")
        answer = await client.get("/healthz")
        assert (answer.status, await answer.text()) == (503, "the work queue has stopped")


STATUS = {
    "state": "Running",
    "attempt": 2,
    "progress": {
        "step": 40,
        "totalSteps": 100,
        "loss": "0.7500",
        "tokensPerSecond": "1600",
        "tokensPerSecondPerGpu": "400",
        "mfu": "0.410",
        "peakMemory": "62.5Gi",
        "remainingSeconds": 3600,
        "checkpointStep": 20,
        "checkpointTime": "2026-01-01T00:00:10Z",
    },
}


def series(counted: metrics.Metrics) -> dict[str, float]:
    """Name and labels -> value, of the jobs alone."""
    lines = generate_latest(counted.registry).decode().splitlines()
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith("finetune_job_")
    }


def test_a_running_job_has_its_figures() -> None:
    counted = metrics.Metrics()
    counted.job(Key("team", "a"), STATUS)
    labels = '{name="a",namespace="team"}'
    assert {
        name.removeprefix("finetune_job_").removesuffix(labels): value for name, value in series(counted).items()
    } == {
        "attempt": 2,
        "step": 40,
        "total_steps": 100,
        "loss": 0.75,
        "tokens_per_second": 1600,
        "tokens_per_second_per_gpu": 400,
        "mfu_ratio": 0.41,
        "peak_memory_bytes": 62.5 * 2**30,
        "eta_seconds": 3600,
        "checkpoint_step": 20,
        "checkpoint_timestamp_seconds": 1767225610,
    }


@pytest.mark.parametrize("after", [None, {**STATUS, "state": "Succeeded"}, {**STATUS, "state": "Failed"}])
def test_a_job_that_is_gone_or_has_ended_leaves_no_series(after: dict[str, Any] | None) -> None:
    counted = metrics.Metrics()
    for number in range(50):
        counted.job(Key("team", f"job-{number}"), STATUS)
        counted.job(Key("team", f"job-{number}"), after)
    assert series(counted) == {}


def test_a_job_in_a_queue_says_since_when() -> None:
    counted = metrics.Metrics()
    waits = {"state": "Queued", "queue": {"name": "q", "since": "2026-01-01T00:00:10Z"}}
    counted.job(Key("team", "a"), waits)
    assert series(counted) == {'finetune_job_queue_since_timestamp_seconds{name="a",namespace="team"}': 1767225610}
    counted.job(Key("team", "a"), {"state": "Starting", "queue": {"name": "q"}})
    assert series(counted) == {}


def test_a_job_that_waits_has_no_speed() -> None:
    counted = metrics.Metrics()
    counted.job(Key("team", "a"), {**STATUS, "state": "Restarting"})
    told = {name.removeprefix("finetune_job_").partition("{")[0] for name in series(counted)}
    assert {"step", "loss", "checkpoint_step"} < told
    assert not told & {"tokens_per_second", "tokens_per_second_per_gpu", "mfu_ratio", "eta_seconds"}


def test_a_loss_that_is_no_number_is_told_as_such() -> None:
    counted = metrics.Metrics()
    counted.job(Key("team", "a"), {"state": "Running", "progress": {"loss": "nan"}})
    (value,) = series(counted).values()
    assert math.isnan(value)
