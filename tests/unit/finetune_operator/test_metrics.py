"""What /metrics and /healthz answer."""

from __future__ import annotations

from aiohttp.test_utils import TestClient, TestServer

from finetune_operator import metrics
from finetune_operator.names import Key


async def test_what_was_counted_is_shown() -> None:
    counted = metrics.Metrics()
    counted.passed("ok", 0.03)
    counted.passed("error", 2.0)
    counted.posted(403)
    counted.watch_queue(lambda: 5)
    counted.job(Key("team", "a"), "Running")
    counted.job(Key("team", "b"), "Running")
    counted.job(Key("team", "b"), "Failed")
    counted.job(Key("team", "c"), "Queued")
    counted.job(Key("team", "c"), None)
    async with TestClient(TestServer(metrics.app(counted, lambda: None))) as client:
        lines = (await (await client.get("/metrics")).text()).splitlines()
    assert 'finetune_operator_passes_total{result="ok"} 1.0' in lines
    assert 'finetune_operator_pass_duration_seconds_bucket{le="0.05"} 1.0' in lines
    assert 'finetune_operator_intake_posts_total{code="403"} 1.0' in lines
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
