"""Reads what the ranks left in the run folder, and writes the outcome where others find it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from finetune_trainer import atomic, records
from finetune_trainer.records import Outcome, Progress, RankError, Record, RunResult
from finetune_trainer.supervise import stacks
from finetune_trainer.supervise.recorder import Recording
from finetune_trainer.supervise.stacks import RankStacks

log = logging.getLogger(__name__)

KUBELET_FILE = Path("/dev/termination-log")
_R = TypeVar("_R", bound=Record)


def errors(run_dir: Path) -> tuple[RankError, ...]:
    """The ranks' own words, in the order in which they were written."""
    files = sorted(run_dir.glob(records.ERROR_FILE.format(rank="*")), key=lambda file: file.stat().st_mtime_ns)
    return tuple(error for file in files if (error := _read(RankError, file)) is not None)


def result(run_dir: Path) -> RunResult | None:
    """The trainer's result, where it came so far."""
    return _read(RunResult, run_dir / records.RESULT_FILE)


def progress(run_dir: Path) -> Progress | None:
    """The last progress of rank 0, on node 0."""
    return _read(Progress, run_dir / records.PROGRESS_FILE)


def write(outcome: Outcome, termination_log: Path | None, output_dir: Path | None) -> None:
    """The termination message and the record on the volume; a place that cannot be written is told and left out."""
    leave_message(outcome.to_termination_message(), termination_log)
    if output_dir is not None:
        name = records.OUTCOME_FILE.format(attempt=outcome.attempt, node_rank=outcome.node_rank)
        _try(atomic.write, output_dir / records.STATE_DIR / name, outcome.to_json())


def leave_message(text: str, termination_log: Path | None) -> None:
    """For the kubelet, or who stands for it; nowhere, where there is neither."""
    if termination_log is not None or KUBELET_FILE.exists():
        _try(Path.write_text, termination_log or KUBELET_FILE, text)


def keep_stacks(found: Sequence[RankStacks], attempt: int, node_rank: int, output_dir: Path) -> None:
    """What the ranks of a node that hung were doing, on the volume."""
    if found:
        name = records.STACKS_FILE.format(attempt=attempt, node_rank=node_rank)
        _try(atomic.write, output_dir / records.STATE_DIR / name, stacks.text(found))


def keep_recordings(found: Sequence[Recording], attempt: int, output_dir: Path) -> tuple[str, ...]:
    """Which collectives the ranks had called, on the volume; the names of the files that could be written."""
    kept = []
    for one in found:
        name = one.name(attempt)
        try:
            (output_dir / records.STATE_DIR / name).write_bytes(one.content)
        except OSError as error:
            log.warning("nothing was written to %s: %s", name, error.strerror)
        else:
            kept.append(name)
    return tuple(kept)


def _try(write: Callable[[Path, str], object], file: Path, text: str) -> None:
    """Write a file; the kubelet's is a mount of its own, so it cannot be replaced by a rename."""
    try:
        write(file, text)
    except OSError as error:
        log.warning("nothing was written to %s: %s", file, error.strerror)


def _read(kind: type[_R], file: Path) -> _R | None:
    try:
        return kind.from_json(file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s is left out: %s", file, error)
        return None
