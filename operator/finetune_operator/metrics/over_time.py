"""What adds up over time and outlives its job: attempts by reason, GPU time used and lost, waits in queues."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from finetune_operator.metrics import changes
from finetune_operator.names import Key

WAIT_BUCKETS = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0, 172800.0, 604800.0)
"""From a minute to a week."""
MOST_REASONS = 100
"""Of a namespace: a reason comes out of a pod, which may say what it likes."""


class OverTime:
    """Counts what each status tells anew. What the first one tells was counted by an operator before this one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "finetune_operator_attempts",
            "Attempts that have ended, by reason.",
            ["namespace", "reason"],
            registry=registry,
        )
        self._used = Counter(
            "finetune_operator_gpu_seconds",
            "Time of attempts that have ended, times their GPUs.",
            ["namespace"],
            registry=registry,
        )
        self._lost = Counter(
            "finetune_operator_gpu_seconds_lost",
            "Of that, what has to be repeated: since the last complete checkpoint.",
            ["namespace"],
            registry=registry,
        )
        self._waits = Histogram(
            "finetune_operator_queue_wait_seconds",
            "How long jobs waited until their queue let them in, each time.",
            ["namespace", "queue"],
            buckets=WAIT_BUCKETS,
            registry=registry,
        )
        self._newest: dict[Key, int] = {}
        self._waiting: dict[Key, changes.Waiting] = {}
        self._reasons: defaultdict[str, set[str]] = defaultdict(set)

    def job(self, key: Key, status: Mapping[str, Any] | None) -> None:
        """A job's status as last told; None forgets a deleted job."""
        known, waiting = self._newest.pop(key, None), self._waiting.pop(key, None)
        if status is None:
            return
        self._newest[key] = changes.newest(status)
        if (waits := changes.waiting(status)) is not None:
            self._waiting[key] = waits
        self._begin(key.namespace)
        for one in changes.ended(status, known) if known is not None else ():
            self._count(key.namespace, one)
        if (waited := changes.waited(waiting, status)) is not None:
            self._waits.labels(key.namespace, waited.queue).observe(waited.seconds)

    def _begin(self, namespace: str) -> None:
        """At 0: Prometheus sees no increase in the first value of a series."""
        self._used.labels(namespace)
        self._lost.labels(namespace)

    def _count(self, namespace: str, one: changes.Ended) -> None:
        known = self._reasons[namespace]
        reason = one.reason if one.reason in known or len(known) < MOST_REASONS else "Other"
        known.add(reason)
        self._attempts.labels(namespace, reason).inc()
        self._used.labels(namespace).inc(one.gpu_seconds)
        self._lost.labels(namespace).inc(one.lost_gpu_seconds)
