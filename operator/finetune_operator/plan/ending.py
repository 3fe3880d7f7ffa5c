"""How an attempt ended, as the line of status.attempts that outlives its children."""

from __future__ import annotations

from datetime import datetime

from finetune_operator.observe import Observed, ObservedAttempt
from finetune_operator.plan import cost
from finetune_operator.plan.judge import Verdict
from finetune_operator.spec import AttemptRecord, FineTuneJob


def record(
    job: FineTuneJob, live: ObservedAttempt, verdict: Verdict, observed: Observed, now: datetime
) -> AttemptRecord:
    """The line in status.attempts that says how an attempt ended."""
    outcome, progress = verdict.outcome, observed.progress
    return AttemptRecord(
        number=live.number,
        reason=verdict.reason,
        message=verdict.message,
        counted=verdict.counted,
        retryable=verdict.retryable,
        started=live.started or live.created,
        finished=now,
        rank=outcome.rank if outcome else _only_rank(job, verdict),
        node=verdict.pod.node if verdict.pod else None,
        step=outcome.step if outcome and outcome.step is not None else (progress.step if progress else None),
        checkpoint_step=_checkpoint(outcome.checkpoint_step if outcome else None, observed),
        log_tail=outcome.log_tail if outcome else verdict.log_tail,
        gpus=cost.gpus(job, live),
        lost_seconds=cost.lost_seconds(live, verdict, progress, now),
    )


def _only_rank(job: FineTuneJob, verdict: Verdict) -> int | None:
    """The rank of a pod that left no record; of several ranks in one pod nobody knows which one it was."""
    known = verdict.pod is not None and job.spec.processes_per_node == 1
    return verdict.pod.node_rank if known and verdict.pod else None


def _checkpoint(said: int | None, observed: Observed) -> int | None:
    """The last complete checkpoint that anybody told us of."""
    posted = observed.progress.checkpoint_step if observed.progress else None
    return max((step for step in (said, posted) if step is not None), default=None)
