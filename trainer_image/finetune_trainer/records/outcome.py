"""How a rank, a pod, a preparation or an export ended."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, TypeVar

from finetune_trainer.records.names import TERMINATION_LIMIT
from finetune_trainer.records.record import Record

Result = Literal["succeeded", "failed", "stopped"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RankError(Record):
    """error-<rank>.json: why a rank gave up, in words for people."""

    rank: int
    reason: str
    """One of the reasons of `finetune_trainer.failures`; CamelCase."""
    message: str
    retryable: bool
    step: int = 0
    traceback: str = ""
    peak_memory: int | None = None
    """Bytes that the rank held at most when its memory was full: of its GPU, or of main memory; None otherwise."""
    allocated_memory: int | None = None
    """Of those of a GPU, what lay in tensors."""
    gpu_memory: int | None = None
    """What its GPU has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult(Record):
    """result.json, written by every local rank 0 at the very end: completed, or stopped after a save."""

    result: Literal["succeeded", "stopped"]
    step: int
    checkpoint_step: int | None = None
    train_loss: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome(Record):
    """How one pod's part of an attempt ended: the termination message, and outcome-<attempt>-<node>.json."""

    result: Result
    reason: str
    message: str
    retryable: bool
    attempt: int
    node_rank: int
    spec_hash: str
    rank: int | None = None
    """The first rank that failed, where that is known."""
    host: str = ""
    exit_code: int | None = None
    step: int | None = None
    checkpoint_step: int | None = None
    train_loss: float | None = None
    log_tail: str = ""

    def to_termination_message(self) -> str:
        """As JSON of at most `TERMINATION_LIMIT` bytes: the log's first lines give way, then the message's end."""
        shorter = self
        while shorter.log_tail and _is_too_long(shorter):
            shorter = dataclasses.replace(shorter, log_tail=shorter.log_tail[len(shorter.log_tail) // 4 + 1 :])
        return _shortened(shorter).to_json()


@dataclass(frozen=True, kw_only=True, slots=True)
class Report(Record):
    """What a pod that does one thing found, or why it failed: its termination message."""

    result: Literal["succeeded", "failed"]
    reason: str
    message: str
    retryable: bool

    def to_termination_message(self) -> str:
        """As JSON of at most `TERMINATION_LIMIT` bytes: the message's end gives way."""
        return _shortened(self).to_json()


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparation(Report):
    """What is there before GPUs are taken."""

    model: str | None = None
    """The fetched model's folder; None: nothing was fetched."""
    data: bool = False
    """The data lie as tokens where the ranks will look for them."""
    parameters: int | None = None
    memory: int | None = None
    """Bytes that one GPU needs, by the estimate; None: the model can't be sized."""
    fits: bool | None = None
    instead: str = ""
    """What would fit."""
    steps: int | None = None
    rows: int | None = None
    tokens: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported(Report):
    """What was made of the trained model; on the volume too, as exported.json."""

    folder: str | None = None
    """Where the merged model lies."""
    finished: str = ""
    """Of the completion whose adapter it holds."""


_Told = TypeVar("_Told", Report, Outcome)


def _shortened(record: _Told) -> _Told:
    """With as much of the message as the kubelet keeps."""
    while _is_too_long(record):
        record = dataclasses.replace(record, message=record.message[: len(record.message) * 3 // 4])
    return record


def _is_too_long(record: Record) -> bool:
    return len(record.to_json().encode()) > TERMINATION_LIMIT
