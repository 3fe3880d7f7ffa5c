"""Reasons: what a rank says when it gives up. Exceptions become a RankError in words for people.

Law: knows exceptions, not what raised them; writes error-<rank>.json and nothing else. Whether the job tries again is
decided from `retryable`: a user's mistake is not, a lost peer is.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from finetune_trainer import atomic, records
from finetune_trainer.context import RunContext
from finetune_trainer.records import OUT_OF_MEMORY, PEER_LOST, Heartbeat, RankError, Report

log = logging.getLogger(__name__)
_Report = TypeVar("_Report", bound=Report)


class RunError(ValueError):
    """A fault that we can name. `reason` is for programs, the message for people."""

    reason = "ConfigInvalid"
    retryable = False
    leaves_threads = False
    """Threads still wait for another rank, and the interpreter would abort over them at its end."""


class ModelNotFound(RunError):
    """The model, its tokenizer or an adapter is not where the configuration says."""

    reason = "ModelNotFound"


class WorldSizeMismatch(RunError):
    """There are not as many ranks as the job said."""

    reason = "WorldSizeMismatch"


class DeviceMissing(RunError):
    """A GPU that the job was given is not there. Another attempt may get a sound node."""

    reason = "DeviceMissing"
    retryable = True


class WorldMixed(RunError):
    """Ranks of different attempts met: a leftover of an old one. A new attempt starts all of them again."""

    reason = "WorldMixed"
    retryable = True


class WorldDiffers(RunError):
    """Ranks run different software or configurations: what they make together would be nobody's run."""

    reason = "WorldDiffers"


class LossNotFinite(RunError):
    """The loss is NaN or infinite: every further step would be lost time."""

    reason = "LossNotFinite"


class Fenced(RunError):
    """A later attempt owns the volume: this rank is a leftover and must not write."""

    reason = "Fenced"


class CheckpointInvalid(RunError):
    """The checkpoint to resume from cannot be used."""

    reason = "CheckpointInvalid"


class SaveFailed(RunError):
    """A checkpoint could not be written. The next attempt goes on from the one before, perhaps on a sounder node."""

    reason = "SaveFailed"
    retryable = True


class DiskFull(SaveFailed):
    """There is no room for a checkpoint. The next attempt first clears what was written of it."""

    reason = "DiskFull"


class OutputNotEmpty(RunError):
    """output_dir holds another run's result, and nobody said that it may be overwritten."""

    reason = "OutputNotEmpty"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What an exception means."""

    reason: str
    retryable: bool
    users: bool
    """Whether the user can mend it: the message is enough, a traceback would only hide it."""


_CONNECTION_LOST = re.compile(
    r"Connection closed by peer|Connection reset by peer|Connection refused|connectFullMesh failed|Broken pipe"
    r"|Timed out waiting|NCCL (error|WARN)|ncclRemoteError|ncclSystemError|Socket (closed|Timeout)|\[?gloo\b",
    re.IGNORECASE,
)
"""How gloo, NCCL and the TCP store word a peer's death; torch raises it as a plain RuntimeError."""

_MEMORY_IS_FULL = re.compile(
    r"out of memory|DefaultCPUAllocator: can't allocate|Cannot allocate memory", re.IGNORECASE
)


def judge(error: BaseException) -> Verdict:
    """Name an exception. Other rooms' errors are known by class name, so that nothing heavy is imported for it."""
    names = {base.__name__ for base in type(error).__mro__}
    if isinstance(error, RunError):
        return Verdict(reason=error.reason, retryable=error.retryable, users=True)
    for room_error, reason in _ROOMS.items():
        if room_error in names:
            return Verdict(reason=reason, retryable=False, users=True)
    connection = isinstance(error, RuntimeError | ConnectionError)
    if "DistError" in names or (connection and _CONNECTION_LOST.search(str(error))):
        return Verdict(reason=PEER_LOST, retryable=True, users=False)
    if isinstance(error, MemoryError) or "OutOfMemoryError" in names or _MEMORY_IS_FULL.search(str(error)):
        return Verdict(reason=OUT_OF_MEMORY, retryable=False, users=False)
    return Verdict(reason="Crashed", retryable=True, users=False)


def reported(record: type[_Report], error: Exception) -> _Report:
    """What a pod that does one thing says of an exception; one that is nobody's mistake goes to the log as a whole."""
    verdict = judge(error)
    if not verdict.users:
        log.error("it failed", exc_info=error)
    message = str(error) or type(error).__name__
    return record(result="failed", reason=verdict.reason, message=message, retryable=verdict.retryable)


_ROOMS = {
    "ConfigInvalid": "ConfigInvalid",
    "DataInvalid": "DataInvalid",
    "TemplateInvalid": "TemplateInvalid",
    "TemplateUnknown": "TemplateInvalid",
    "DeepSpeedInvalid": "ConfigInvalid",
}


class Used(Protocol):
    """Bytes that a process held at most; see `memory.Used`."""

    @property
    def peak(self) -> int: ...  # noqa: D102 - there
    @property
    def allocated(self) -> int | None: ...  # noqa: D102 - there
    @property
    def total(self) -> int | None: ...  # noqa: D102 - there


@contextmanager
def told(context: RunContext, *, used: Callable[[], Used] | None = None) -> Iterator[None]:
    """Write down why this rank gave up, tell people, and end the process with code 1.

    Args:
        context: who this rank is.
        used: how much memory it held, which is written down where that was too much.

    Raises:
        SystemExit: with code 1, instead of whatever was raised.
    """
    try:
        yield
    except Exception as error:
        told_error = _with_memory(_rank_error(error, context), used)
        if context.run_dir is not None:
            atomic.write(context.run_dir / records.ERROR_FILE.format(rank=context.place.rank), told_error.to_json())
        _print(told_error, context)
        if isinstance(error, RunError) and error.leaves_threads:
            os._exit(1)
        raise SystemExit(1) from error


def _rank_error(error: Exception, context: RunContext) -> RankError:
    verdict = judge(error)
    return RankError(
        rank=context.place.rank,
        reason=verdict.reason,
        message=str(error) or type(error).__name__,
        retryable=verdict.retryable,
        step=_last_step(context.run_dir, context.place.local_rank),
        traceback="" if verdict.users else "".join(traceback.format_exception(error)),
    )


def _with_memory(error: RankError, used: Callable[[], Used] | None) -> RankError:
    if error.reason != OUT_OF_MEMORY or used is None:
        return error
    held = used()
    return dataclasses.replace(
        error, peak_memory=held.peak, allocated_memory=held.allocated, gpu_memory=held.total
    )  # fmt: skip


def _last_step(run_dir: Path | None, local_rank: int) -> int:
    if run_dir is None:
        return 0
    try:
        text = (run_dir / records.HEARTBEAT_FILE.format(local_rank=local_rank)).read_text(encoding="utf-8")
        return Heartbeat.from_json(text).step
    except (OSError, ValueError):
        return 0


def _print(error: RankError, context: RunContext) -> None:
    where = f" (rank {context.place.rank} of {context.place.world_size})" if context.place.world_size > 1 else ""
    sys.stderr.write(f"{error.traceback}{error.reason}{where}: {error.message}\n")
    sys.stderr.flush()
