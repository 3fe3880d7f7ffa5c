"""The newest progress record as status.progress: numbers as strings, since Kubernetes' API has no floats."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from finetune_operator.spec import to_time
from finetune_trainer.records import Progress

_GIB = 1 << 30


def shown(progress: Progress, *, active: bool, output_dir: str) -> dict[str, Any]:
    """status.progress of a running (`active`) or ended job; an ended one has no ETA."""
    remaining = progress.remaining_seconds if active else None
    values = {
        "phase": progress.phase,
        "step": progress.step,
        "totalSteps": progress.total_steps,
        "percentage": f"{progress.percentage}%",
        "epoch": f"{progress.epoch:.2f}",
        "loss": None if progress.loss is None else f"{progress.loss:.4f}",
        "learningRate": None if progress.learning_rate is None else f"{progress.learning_rate:.3g}",
        "tokensPerSecond": _whole(progress.tokens_per_second),
        "tokensPerSecondPerGpu": _whole(progress.tokens_per_second_per_gpu),
        "mfu": None if progress.mfu is None else f"{progress.mfu:.3f}",
        "peakMemory": None if progress.peak_memory is None else f"{progress.peak_memory / _GIB:.1f}Gi",
        "remainingSeconds": remaining,
        "eta": None if remaining is None else duration(remaining),
        "checkpointStep": progress.checkpoint_step,
        "checkpointPath": None if progress.checkpoint_path is None else f"{output_dir}/{progress.checkpoint_path}",
        "checkpointTime": None if progress.checkpoint_time is None else _stamp(progress.checkpoint_time),
        "rows": progress.rows,
        "rowsDropped": progress.rows_dropped,
        "rowsTruncated": progress.rows_truncated,
        "rowsChanged": progress.rows_changed,
        "fetched": _fetched(progress),
        "bytesPerSecond": None if progress.bytes_per_second is None else round(progress.bytes_per_second),
        "updateTime": _stamp(progress.time),
    }
    return {key: value for key, value in values.items() if value is not None}


def _fetched(progress: Progress) -> str | None:
    """So much of so much, in the units in which hubs tell sizes."""
    if progress.total_bytes is None or progress.fetched_bytes is None:
        return None
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if progress.total_bytes >= size:
            return f"{progress.fetched_bytes / size:.1f} of {progress.total_bytes / size:.1f} {unit}"
    return f"{progress.fetched_bytes} of {progress.total_bytes} bytes"


def only_progress(previous: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    """Whether nothing but the progress differs: such a write may wait. A job's first progress does not."""
    if not previous or "progress" not in previous or previous == wanted:
        return False
    return {**previous, "progress": None} == {**wanted, "progress": None}


def _whole(number: float | None) -> str | None:
    return None if number is None else f"{number:.0f}"


def _stamp(seconds: float) -> str:
    return to_time(datetime.fromtimestamp(seconds, UTC))


def duration(seconds: int) -> str:
    """Two units for people: `3d 4h`, `4h 5m`, `5m 6s`, `6s`."""
    units = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
    for index, (name, size) in enumerate(units):
        if seconds >= size and index < len(units) - 1:
            next_name, next_size = units[index + 1]
            return f"{seconds // size}{name} {seconds % size // next_size}{next_name}"
    return f"{seconds}s"
