"""Pure: a job's status -> its figures for Prometheus. One that has ended has none: its status keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetune_operator.metrics.changes import seconds

GAUGES: Mapping[str, str] = {
    "attempt": "Number of the newest attempt.",
    "step": "Steps done.",
    "total_steps": "Steps in all.",
    "loss": "The latest training loss.",
    "tokens_per_second": "Tokens per second, all ranks together.",
    "tokens_per_second_per_gpu": "Tokens per second of each rank.",
    "mfu_ratio": "Model FLOPs utilisation, 0 to 1.",
    "peak_memory_bytes": "What the fullest rank took of its GPU at most, or of main memory.",
    "eta_seconds": "Time that is left.",
    "checkpoint_step": "Step of the latest complete checkpoint.",
    "checkpoint_timestamp_seconds": "When that checkpoint was complete.",
    "queue_since_timestamp_seconds": "Since when it waits in its queue.",
}
"""Name after `finetune_job_` -> what it is."""
_ENDED = frozenset({"Succeeded", "Failed", "Rejected", ""})
_GIB = 1 << 30
_RATES = ("tokens_per_second", "tokens_per_second_per_gpu", "mfu_ratio", "eta_seconds")
"""Of a job that stands, they would be of long ago."""


def of(status: Mapping[str, Any]) -> dict[str, float]:
    """Gauge -> value; what is not known is left out."""
    state = str(status.get("state", ""))
    if state in _ENDED:
        return {}
    progress = status.get("progress") or {}
    found = {
        "attempt": _number(status.get("attempt")),
        "step": _number(progress.get("step")),
        "total_steps": _number(progress.get("totalSteps")),
        "loss": _number(progress.get("loss")),
        "tokens_per_second": _number(progress.get("tokensPerSecond")),
        "tokens_per_second_per_gpu": _number(progress.get("tokensPerSecondPerGpu")),
        "mfu_ratio": _number(progress.get("mfu")),
        "peak_memory_bytes": _number(str(progress.get("peakMemory")).removesuffix("Gi"), _GIB),
        "eta_seconds": _number(progress.get("remainingSeconds")),
        "checkpoint_step": _number(progress.get("checkpointStep")),
        "checkpoint_timestamp_seconds": seconds(progress.get("checkpointTime")),
        "queue_since_timestamp_seconds": seconds((status.get("queue") or {}).get("since")),
    }
    stands = () if state == "Running" else _RATES
    return {name: value for name, value in found.items() if value is not None and name not in stands}


def _number(said: object, unit: float = 1.0) -> float | None:
    """Numbers stand in status as numbers or as text; a loss may be nan, which Prometheus knows."""
    try:
        return float(str(said)) * unit
    except ValueError:
        return None
