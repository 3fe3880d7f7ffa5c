"""What a queue does to an attempt: it holds it, lets it in, takes its pods and brings them back. It ends no attempt.

Kueue alone writes the PyTorchJob's `suspend` and its templates once the PyTorchJob is there; we read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from finetune_operator import names
from finetune_operator.observe import ObservedAttempt, ObservedQueue
from finetune_operator.spec import FineTuneJob, QueueRecord, from_time

PATIENCE_SECONDS = 30.0
"""Kueue makes a Workload within a second of the PyTorchJob; one that does not come by then needs a person."""
FIRST_LOOK_SECONDS = 2.0
LOOK_SECONDS = 15.0
"""Times the place in the queue: who is near its head is told its place more often, and a long queue costs little."""
_NOT_THERE = re.compile(r"doesn't exist|missing")
"""Kueue's words for a LocalQueue or ClusterQueue that nobody has made; its reason is that of one that is stopped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """Why an attempt waits for its queue."""

    reason: str
    message: str
    lasting: bool = False
    """It will wait until a person does something."""


def held(attempt: ObservedAttempt) -> bool:
    """Whether the queue has it: not let in yet, or evicted, which its Workload says before its pods go."""
    return attempt.suspended or (attempt.queue is not None and attempt.queue.state == "Evicted")


def own(job: FineTuneJob, live: ObservedAttempt) -> tuple[FineTuneJob, ObservedAttempt]:
    """Both without the pods of an earlier admission: evicted ones may take their grace time while others come back."""
    queue, known = live.queue, job.recorded.queue
    if queue is None:
        return job, live
    another = known is not None and queue.admission is not None and known.admission != queue.admission
    remembered = {} if another or held(live) else job.recorded.pods
    pods = tuple(pod for pod in live.pods if not pod.deleting or pod.uid in remembered.values())
    return replace(job, recorded=replace(job.recorded, pods=remembered)), replace(live, pods=pods)


def let_in(live: ObservedAttempt) -> datetime | None:
    """When an attempt that runs was let in: as the training operator or Kueue says it, or at its creation."""
    if live.started is not None:
        return live.started
    if live.queue is not None and live.queue.admission is not None:
        return from_time(live.queue.admission)
    return None if live.phase == "Suspended" else live.created


def deadline(job: FineTuneJob, now: datetime) -> datetime | None:
    """When the job must have ended: time that it spent in the queue after its first admission is not its own."""
    limit, admitted, queue = job.spec.run_policy.active_deadline_seconds, job.recorded.admitted, job.recorded.queue
    if limit is None or admitted is None:
        return None
    waited = timedelta(seconds=queue.waited_seconds if queue else 0)
    waits = now - queue.since if queue and queue.since else timedelta(0)
    return admitted + timedelta(seconds=limit) + waited + waits


def wait(job: FineTuneJob, live: ObservedAttempt, trouble: str, now: datetime) -> Wait:
    """Why it is held, in Kueue's words where there are any."""
    queue, said = job.spec.scheduling.queue, live.queue
    if said is not None:
        return _as_kueue_says(said)
    if queue is None:
        message = "somebody has suspended the PyTorchJob: it goes on when they set its spec.runPolicy.suspend to false"
        return Wait(reason=names.QUEUED, message=message)
    if trouble:
        message = f"spec.scheduling.queue {queue}: {trouble}"
        return Wait(reason=names.KUEUE_UNREADABLE, message=message, lasting=True)
    if live.created is not None and now >= live.created + timedelta(seconds=PATIENCE_SECONDS):
        message = (
            f"in queue {queue}, and Kueue takes no notice: it made no Workload in {PATIENCE_SECONDS:.0f} s; does its"
            " configuration list kubeflow.org/pytorchjob under integrations.frameworks?"
        )
        return Wait(reason=names.NO_WORKLOAD, message=message, lasting=True)
    return Wait(reason=names.QUEUED, message=f"in queue {queue}")


def look_again(live: ObservedAttempt, now: datetime) -> float | None:
    """Seconds until a held attempt's place is worth another look; its admission wakes us by itself.

    Kueue says nothing at all of who stands far back: only a young one is asked for its first word.
    """
    said = live.queue
    age = (now - live.created).total_seconds() if live.created is not None else 0.0
    if age < PATIENCE_SECONDS and (said is None or (said.state == "Waiting" and not said.message)):
        return min(FIRST_LOOK_SECONDS, PATIENCE_SECONDS - age)
    return None if said is None or said.position is None else LOOK_SECONDS * said.position


def record(job: FineTuneJob, live: ObservedAttempt | None, *, waits: bool, now: datetime) -> QueueRecord | None:
    """What status is to remember of the queue; None for a job that never had one."""
    known = job.recorded.queue or QueueRecord()
    said = live.queue if live is not None else None
    if job.spec.scheduling.queue is None and job.recorded.queue is None and said is None:
        return None
    passed = (now - known.since).total_seconds() if known.since and not waits and job.recorded.admitted else 0
    timed = replace(
        known,
        name=job.spec.scheduling.queue or known.name,
        since=(known.since or now) if waits else None,
        waited_seconds=known.waited_seconds + int(passed),
        position=None,
        position_in_cluster_queue=None,
    )
    if said is not None:
        return _with_workload(timed, said)
    return replace(timed, state="", workload=None, cluster_queue=None, flavors=()) if waits else timed


def _with_workload(known: QueueRecord, said: ObservedQueue) -> QueueRecord:
    admitted = said.admission is not None and said.admission != known.admission
    evicted = said.state == "Evicted" and known.state != "Evicted"
    return replace(
        known,
        name=said.queue or known.name,
        state=said.state,
        workload=said.workload,
        cluster_queue=said.cluster_queue,
        flavors=said.flavors,
        position=said.position,
        position_in_cluster_queue=said.position_in_cluster_queue,
        admission=said.admission or known.admission,
        admissions=known.admissions + admitted,
        evictions=known.evictions + evicted,
    )


def _as_kueue_says(said: ObservedQueue) -> Wait:
    if said.state == "Evicted":
        waits = f"; {_place(said)}{_told(said.waits)}"
        message = f"evicted from queue {said.queue}{_told(said.message)}{waits}"
        return Wait(reason=said.reason or "Evicted", message=message, lasting=said.reason.startswith("Deactivated"))
    if said.state == "Reserved":
        return Wait(reason="QuotaReserved", message=f"has its quota in queue {said.queue}{_told(said.message)}")
    if said.state == "Admitted":
        return Wait(reason=names.QUEUED, message=f"admitted by queue {said.queue}: the pods are about to start")
    message = f"{_place(said)}{_told(said.message)}"
    if _NOT_THERE.search(said.message):
        return Wait(reason=names.QUEUE_MISSING, message=message, lasting=True)
    return Wait(reason=names.QUEUED, message=message)


def _place(said: ObservedQueue) -> str:
    if said.position is None:
        return f"in queue {said.queue}"
    whole = said.position_in_cluster_queue
    beside = f" ({whole} in its cluster queue)" if whole not in {None, said.position} else ""
    return f"position {said.position} in queue {said.queue}{beside}"


def _told(message: str) -> str:
    return f": {message}" if message else ""
