"""What is counted, and /metrics and /healthz, which show it."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from finetune_operator.metrics import of_job
from finetune_operator.metrics.over_time import OverTime
from finetune_operator.names import Key

DURATION_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counters of passes and posts, and gauges of the queue and the jobs."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._passes = Counter(
            "finetune_operator_passes", "Passes over a job, by result.", ["result"], registry=self.registry
        )
        self._seconds = Histogram(
            "finetune_operator_pass_duration_seconds",
            "How long a pass took.",
            buckets=DURATION_BUCKETS,
            registry=self.registry,
        )
        self._posts = Counter(
            "finetune_operator_intake_posts", "Progress posts, by HTTP status.", ["code"], registry=self.registry
        )
        self._requests = Counter(
            "finetune_operator_api_requests",
            "Requests to the API server but kopf's own, by verb, resource and HTTP status; 0: no answer.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self._depth: Callable[[], int] = lambda: 0
        self._over_time = OverTime(self.registry)
        self._states: dict[Key, str] = {}
        self._told: dict[Key, Mapping[str, float]] = {}
        self.registry.register(self)

    def passed(self, result: str, seconds: float) -> None:
        """A pass ended: `ok`, `error` or `crash`."""
        self._passes.labels(result).inc()
        self._seconds.observe(seconds)

    def asked(self, verb: str, resource: str, code: int) -> None:
        """The API server answered a request, or did not (0)."""
        self._requests.labels(verb, resource, str(code)).inc()

    def posted(self, code: int) -> None:
        """The intake answered a post."""
        self._posts.labels(str(code)).inc()

    def watch_queue(self, depth: Callable[[], int]) -> None:
        """Where to ask how many jobs wait for a pass."""
        self._depth = depth

    def job(self, key: Key, status: Mapping[str, Any] | None) -> None:
        """A job's status as last told; None forgets a deleted job."""
        self._over_time.job(key, status)
        self._states.pop(key, None)
        self._told.pop(key, None)
        if status is not None:
            self._states[key] = str(status.get("state", ""))
            if figures := of_job.of(status):
                self._told[key] = figures

    def collect(self) -> Iterator[Metric]:
        """Gauges, made when they are asked for (prometheus_client's collector protocol)."""
        yield GaugeMetricFamily("finetune_operator_queue_depth", "Jobs that wait for a pass.", value=self._depth())
        jobs = GaugeMetricFamily("finetune_operator_jobs", "FineTuneJobs by state.", labels=["state"])
        for state, count in sorted(Tally(self._states.values()).items()):
            jobs.add_metric([state], count)
        yield jobs
        for name, words in of_job.GAUGES.items():
            gauge = GaugeMetricFamily(f"finetune_job_{name}", words, labels=["namespace", "name"])
            for key, figures in sorted(self._told.items()):
                if name in figures:
                    gauge.add_metric([key.namespace, key.name], figures[name])
            yield gauge


def app(metrics: Metrics, ailing: Callable[[], str | None]) -> web.Application:
    """/metrics and /healthz. `ailing` says what is wrong with the program, or None."""

    async def show(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def probe(_request: web.Request) -> web.Response:
        wrong = ailing()
        return web.Response(text=wrong or "ok", status=503 if wrong else 200)

    application = web.Application()
    application.add_routes([web.get("/metrics", show), web.get("/healthz", probe)])
    return application
