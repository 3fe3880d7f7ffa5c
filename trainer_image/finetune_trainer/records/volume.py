"""What lies on the volume, beside the outcomes: for later attempts."""

from __future__ import annotations

from dataclasses import dataclass

from finetune_trainer.records.record import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion(Record):
    """complete.json: the run ended; a job with the same hash that is created again finds that it is done."""

    spec_hash: str
    attempt: int
    step: int
    train_loss: float | None
    finished: str
    """UTC, ISO 8601."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fence(Record):
    """fence.json: the attempt that owns the volume. A rank of an older one must not commit a checkpoint."""

    uid: str
    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointMark(Record):
    """finetune.json inside checkpoint-N/: complete, and whose it is."""

    uid: str
    spec_hash: str
    attempt: int
    step: int
    world_size: int
    global_batch: int | None = None
    """Rows of a step; None: written before this was."""
    rows_per_rank: int | None = None
    """Of a step, as train.yaml has them; ranks that were resized take more or fewer."""
    time: float = 0.0
    """When it was complete, in Unix seconds; 0: an older trainer did not say."""
