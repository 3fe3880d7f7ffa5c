"""How far a run, or its preparation, is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from finetune_trainer.records.record import Record

Phase = Literal["fetching", "starting", "data", "model", "training", "evaluating", "saving"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat(Record):
    """heartbeat-<local rank>.json: this rank is alive and this far. Times are Unix seconds."""

    time: float
    phase: Phase
    step: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress(Record):
    """progress.json, written by rank 0; the supervisor posts it, the operator shows it in status."""

    time: float
    phase: Phase
    step: int = 0
    total_steps: int = 0
    epoch: float = 0.0
    loss: float | None = None
    learning_rate: float | None = None
    tokens_per_second: float | None = None
    """Of all ranks together."""
    tokens_per_second_per_gpu: float | None = None
    """Of each rank, which has a GPU of its own; on CPUs of each rank, too."""
    mfu: float | None = None
    """Model FLOPs utilisation, 0 to 1: what the model needs for these tokens over what the GPUs could do."""
    peak_memory: int | None = None
    """Bytes that the fullest rank took at most: of its GPU, or of main memory."""
    remaining_seconds: int | None = None
    checkpoint_step: int | None = None
    checkpoint_path: str | None = None
    """Under output_dir; None where the checkpoint that the run began with lies elsewhere."""
    checkpoint_time: float | None = None
    """When it was complete; Unix seconds."""
    rows: int | None = None
    """Rows that were read, of all data sets; None until they are prepared, and when they are streamed."""
    rows_dropped: int | None = None
    rows_truncated: int | None = None
    rows_changed: int | None = None
    """Kept, but not as the file has them; data_report.json says which and why."""
    fetched_bytes: int | None = None
    """Of the model, in the cache; while it is fetched."""
    total_bytes: int | None = None
    bytes_per_second: float | None = None

    @property
    def percentage(self) -> int:
        """0 to 100 of the steps, or of the bytes while they are fetched; 100 only when the last one is done."""
        if self.total_bytes:
            return 100 * (self.fetched_bytes or 0) // self.total_bytes
        return 100 * self.step // self.total_steps if self.total_steps else 0


def to_kubeflow(progress: Progress) -> dict[str, Any]:
    """Progress in Kubeflow's status protocol (kubeflow/trainer: pkg/statusserver)."""
    values = {
        "step": progress.step,
        "total_steps": progress.total_steps,
        "epoch": progress.epoch,
        "loss": progress.loss,
        "learning_rate": progress.learning_rate,
        "tokens_per_second": progress.tokens_per_second,
        "tokens_per_second_per_gpu": progress.tokens_per_second_per_gpu,
        "mfu": progress.mfu,
        "peak_memory": progress.peak_memory,
        "checkpoint_step": progress.checkpoint_step,
        "checkpoint_path": progress.checkpoint_path,
        "checkpoint_time": progress.checkpoint_time,
        "rows": progress.rows,
        "rows_dropped": progress.rows_dropped,
        "rows_truncated": progress.rows_truncated,
        "rows_changed": progress.rows_changed,
        "fetched_bytes": progress.fetched_bytes,
        "total_bytes": progress.total_bytes,
        "bytes_per_second": progress.bytes_per_second,
        "phase": progress.phase,
        "time": progress.time,
    }
    metrics = [{"name": name, "value": str(value)} for name, value in values.items() if value is not None]
    return {
        "trainerStatus": {
            "progressPercentage": progress.percentage,
            "estimatedRemainingSeconds": progress.remaining_seconds,
            "metrics": metrics,
        }
    }
