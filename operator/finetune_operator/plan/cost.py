"""What an attempt that has ended took of the cluster, and how much of that brought nothing."""

from __future__ import annotations

from datetime import UTC, datetime

from finetune_operator.observe import ObservedAttempt
from finetune_operator.plan import queue
from finetune_operator.plan.judge import Verdict
from finetune_operator.spec import FineTuneJob
from finetune_trainer.records import Progress


def gpus(job: FineTuneJob, live: ObservedAttempt) -> int:
    """GPUs of its pods that have a node, or had one: a pod that waits for its node holds none.

    Nor does an attempt that its queue holds.
    """
    if queue.held(live):
        return 0
    seen = {*job.recorded.pods, *(pod.name for pod in live.pods)}
    return job.spec.resources.gpus_per_node * len(seen - {pod.name for pod in live.pods if pod.node is None})


def lost_seconds(live: ObservedAttempt, verdict: Verdict, progress: Progress | None, now: datetime) -> int:
    """Time since its last complete checkpoint, or since its start where it made none; 0 where nothing is lost."""
    begin = live.started or live.created
    if begin is None or verdict.reason == "Succeeded" or queue.held(live) or _saves_at_its_end(verdict, progress):
        return 0
    # A checkpoint that it began with is older than itself.
    return max(0, int((now - max(begin, _saved(progress, begin))).total_seconds()))


def _saves_at_its_end(verdict: Verdict, progress: Progress | None) -> bool:
    """Ranks that are told to stop save together: it was seen, or they have just been told."""
    outcome = verdict.outcome
    if outcome is not None:
        return outcome.result == "stopped" and outcome.step is not None and outcome.checkpoint_step == outcome.step
    return verdict.reason == "Suspended" and progress is not None and progress.step > 0


def _saved(progress: Progress | None, otherwise: datetime) -> datetime:
    if progress is None or progress.checkpoint_time is None:
        return otherwise
    return datetime.fromtimestamp(progress.checkpoint_time, UTC)
