"""Pure: what happened to a node's ranks -> its Outcome."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace

from finetune_trainer.records import (
    HANG,
    MORE_MEMORY,
    OUT_OF_MEMORY,
    PEER_LOST,
    RANK_STOPPED,
    STACKS_FILE,
    STATE_DIR,
    Outcome,
    Progress,
    RankError,
    Result,
    RunResult,
)
from finetune_trainer.supervise.stacks import RankStacks
from finetune_trainer.supervise.watch import Stall

EXIT_CODES: dict[Result, int] = {"succeeded": 0, "stopped": 143, "failed": 1}
LOG_LINES = 40
_TORCHRUN = re.compile(r"[WE]\d{4} .*torch/distributed/elastic/multiprocessing/api\.py:")


class Refused(ValueError):
    """The run must not start, and why: `reason` for programs, the message for people."""

    def __init__(self, reason: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.reason, self.retryable = reason, retryable


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """What every outcome of this pod says about itself."""

    attempt: int
    node_rank: int
    spec_hash: str
    host: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """What is known when the launcher and everything below it is gone."""

    launcher: str
    exit_code: int
    """Of the launcher; negative: the signal that ended it."""
    result: RunResult | None
    errors: tuple[RankError, ...]
    """In the order in which they were written."""
    stall: Stall | None
    stacks: tuple[RankStacks, ...]
    """Of this node's ranks, taken when one of them stood still."""
    recorded: tuple[str, ...] = ()
    """Files on the volume with these ranks' last collectives."""
    stop_asked: bool
    out_of_memory: bool
    """The kernel killed a process of this pod for memory."""
    step: int | None
    progress: Progress | None
    log_tail: str


def refused(refusal: Refused, who: Identity) -> Outcome:
    """The outcome of a run that did not start."""
    return replace(_unknown(who), reason=refusal.reason, message=str(refusal), retryable=refusal.retryable)


def judge(ended: Ended, who: Identity) -> Outcome:
    """The truth, in this order: a rank's own word, the trainer's result, a hang, a stop, memory, signals, lost peers.

    The launcher's exit code alone is never believed: torchrun turns every death into 1, and DeepSpeed's runner
    ends with 0 when its launcher is killed.
    """
    known = replace(
        _unknown(who),
        exit_code=ended.exit_code,
        step=ended.step,
        checkpoint_step=ended.progress.checkpoint_step if ended.progress else None,
        log_tail=_of_ranks(ended.log_tail),
    )
    own = next((error for error in ended.errors if error.reason != PEER_LOST), None)
    if own is not None:
        return _of_error(known, own)
    if ended.result is not None:
        return _of_result(known, ended.result)
    if ended.stall is not None:
        return _of_stall(known, ended.stall, ended.stacks, ended.recorded)
    if ended.stop_asked:
        message = "stopped on request before the ranks could save a checkpoint"
        return replace(known, result="stopped", reason="Stopped", message=message)
    return _of_death(known, ended)


def _unknown(who: Identity) -> Outcome:
    return Outcome(
        result="failed",
        reason="Crashed",
        message="",
        retryable=True,
        attempt=who.attempt,
        node_rank=who.node_rank,
        spec_hash=who.spec_hash,
        host=who.host,
    )


def _of_error(known: Outcome, error: RankError) -> Outcome:
    return replace(
        known,
        reason=error.reason,
        message=error.message,
        retryable=error.retryable,
        rank=error.rank,
        step=error.step,
        log_tail=error.traceback or known.log_tail,
    )


def _of_result(known: Outcome, result: RunResult) -> Outcome:
    message = {
        "succeeded": f"finished at step {result.step}",
        "stopped": f"stopped on request at step {result.step}, checkpoint at step {result.checkpoint_step}",
    }[result.result]
    return replace(
        known,
        result=result.result,
        reason=result.result.capitalize(),
        message=message,
        retryable=result.result == "stopped",
        step=result.step,
        checkpoint_step=result.checkpoint_step,
        train_loss=result.train_loss,
        log_tail="",
    )


def _of_stall(known: Outcome, stall: Stall, stacks: Sequence[RankStacks], recorded: Sequence[str]) -> Outcome:
    """A stopped rank is the cause, whichever was silent first: the others wait for it."""
    stopped = next((one for one in stacks if one.is_stopped), None)
    rank = stopped.rank if stopped else stall.rank
    shown = next((one.main_thread for one in stacks if one.rank == rank), known.log_tail)
    if stopped:
        message = f"rank {rank} is stopped ({stopped.state}) at step {stall.step}, for {stall.seconds:.0f} s: SIGSTOP?"
    elif stall.beat_once:
        message = f"rank {rank} stands still at step {stall.step}: no heartbeat for {stall.seconds:.0f} s"
    else:
        message = f"rank {rank} gave no heartbeat in {stall.seconds:.0f} s after other ranks began to train"
    if stacks:
        kept = STACKS_FILE.format(attempt=known.attempt, node_rank=known.node_rank)
        message += f"; what each rank was doing is in {STATE_DIR}/{kept}"
    if recorded:
        message += f"; the last collectives are in {STATE_DIR}/: {', '.join(recorded)}"
    reason = RANK_STOPPED if stopped else HANG
    return replace(known, reason=reason, message=message, rank=rank, step=stall.step, log_tail=shown)


def _of_death(known: Outcome, ended: Ended) -> Outcome:
    """Nobody said why: what the kernel and the launchers tell, and only then that peers were lost."""
    rank, code = _first_death(ended)
    if ended.out_of_memory:
        message = f"the kernel killed a process of this pod for memory: {MORE_MEMORY}"
        return replace(known, reason=OUT_OF_MEMORY, message=message, retryable=False, rank=rank)
    if code < 0:
        subject = "the launcher" if rank is None else f"rank {rank}"
        return replace(known, message=f"{subject} was ended by {_signal(-code)}", rank=rank)
    if ended.errors:
        return _of_error(known, ended.errors[0])
    message = f"{ended.launcher} ended with exit code {ended.exit_code} and the ranks left no result; see the log"
    return replace(known, message=message, rank=rank)


def _first_death(ended: Ended) -> tuple[int | None, int]:
    """(rank where it is told, exit code or minus the signal) of the process that died first.

    torchrun prints a summary whose last part is the root cause; DeepSpeed's launcher ends with 256 minus the signal.
    """
    found = re.search(r"Root Cause.*?rank\s*: (\d+) .*?exitcode\s*: (-?\d+)", ended.log_tail, re.DOTALL)
    if found:
        return int(found[1]), int(found[2])
    if ended.launcher == "deepspeed" and ended.exit_code > 192:
        return None, ended.exit_code - 256
    return None, ended.exit_code


def _of_ranks(log_tail: str) -> str:
    """The last lines before torchrun speaks of itself: its own traceback is as long as all that is kept."""
    lines = log_tail.splitlines()
    torchruns = next((at for at, line in enumerate(lines) if _TORCHRUN.match(line)), len(lines))
    return "\n".join((lines[:torchruns] or lines)[-LOG_LINES:])


def _signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name} (perhaps for want of memory on the node)" if number == signal.SIGKILL else name
