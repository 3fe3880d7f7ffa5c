"""The life of a job as attempts: judge the running one, clear up the last one, start the next one.

Records come before deletes: the pass that sees an attempt end only writes it down; a later pass, which has read that
record, deletes. A crash in between neither loses an attempt nor counts it twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from finetune_operator.observe import Observed, ObservedAttempt
from finetune_operator.plan import clearing, ending, export, missing, queue, retention
from finetune_operator.plan.export import Exporting
from finetune_operator.plan.judge import Case, judge, start_deadline
from finetune_operator.plan.prepare import PreparePlan, Preparing, Ready, stage, unfinished
from finetune_operator.plan.queue import Wait
from finetune_operator.plan.run import RunPlan, run_plan
from finetune_operator.plan.side_job import Refused, SideJobPlan
from finetune_operator.settings import Settings
from finetune_operator.spec import AttemptRecord, FineTuneJob, QueueRecord

LOOK_AGAIN_SECONDS = 5.0
"""For what ends without an event that names this job."""


class State(StrEnum):
    """Where a job stands, in one word for people: status.state."""

    REJECTED = "Rejected"
    PREPARING = "Preparing"
    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    RESTARTING = "Restarting"
    SUSPENDED = "Suspended"
    EXPORTING = "Exporting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What one pass is to do, and what it is to tell."""

    state: State
    message: str = ""
    attempt: int = 0
    """The running attempt, or the last one; 0 before the first."""
    prepare: PreparePlan | None = None
    """To be rendered and applied."""
    run: RunPlan | None = None
    """The same."""
    export: SideJobPlan | None = None
    """The same."""
    reason: str = ""
    """Why the job failed, where that was no attempt's fault."""
    record: AttemptRecord | None = None
    """To be written to status.attempts in this pass."""
    obsolete: tuple[tuple[str, str], ...] = ()
    """(kind, name) to delete; only of attempts whose record this pass has read."""
    pods: dict[str, str] = field(default_factory=dict)
    """Name -> uid of the running attempt's pods, for the next pass to compare."""
    ends: bool = False
    """Pods of an attempt that is over are not gone yet: their nodes are still taken."""
    admitted: datetime | None = None
    wait: Wait | None = None
    """Why the running attempt is held by its queue."""
    in_queue: QueueRecord | None = None
    """What is to be remembered of the queue."""
    requeue_after: float | None = None
    """Seconds until a clock of ours needs another pass."""

    @property
    def makes_pods(self) -> bool:
        """Of the manifest as it is now, which may have been edited since attempt 1."""
        return self.run is not None or self.export is not None


def make(job: FineTuneJob, observed: Observed, settings: Settings, now: datetime) -> Plan:
    """Decide what this pass does."""
    case = running(job, observed, now)
    live = case.attempt if case is not None else None
    job = case.job if case is not None else job
    planned = _stage(job, live, observed, settings, now)
    waits = planned.state == State.QUEUED
    return replace(planned, in_queue=queue.record(job, live, waits=waits, now=now))


def running(job: FineTuneJob, observed: Observed, now: datetime) -> Case | None:
    """The newest attempt without a record, as the policies of `judge` look at it."""
    ended = {record.number for record in job.recorded.attempts}
    live = next((attempt for attempt in reversed(observed.attempts) if attempt.number not in ended), None)
    if live is None:
        return None
    job, live = queue.own(job, live)
    return Case(job=job, attempt=live, frozen=observed.frozen, now=now)


def _stage(
    job: FineTuneJob, live: ObservedAttempt | None, observed: Observed, settings: Settings, now: datetime
) -> Plan:
    """What is to be done: an attempt runs, all is over, the last one is cleared up, or the next one starts."""
    records = job.recorded.attempts
    if live is not None:
        return _watch(job, live, observed, settings, now)
    last = records[-1] if records else None
    if last is not None and _is_final(job, last):
        return _kept(job, _finished(job, last, observed, settings), observed, now)
    if any(clearing.leftovers(attempt, settings, now) for attempt in observed.attempts):
        return _clear(job, last, observed, settings, now)
    return _start(job, last, observed, settings, now)


def _watch(job: FineTuneJob, live: ObservedAttempt, observed: Observed, settings: Settings, now: datetime) -> Plan:
    """The running attempt: has it ended, and if not, where does it stand."""
    verdict = judge(Case(job=job, attempt=live, frozen=observed.frozen, now=now))
    admitted = job.recorded.admitted or (queue.let_in(live) if live.exists and not queue.held(live) else None)
    if verdict is not None:
        record = ending.record(job, live, verdict, observed, now)
        state = _state_after(job, record)
        return Plan(
            state=state,
            message=verdict.message,
            attempt=live.number,
            record=record,
            ends=bool(live.pods),
            admitted=admitted,
            requeue_after=0,
        )
    run = None if live.exists else run_plan(job, live.number, settings, frozen=observed.frozen)
    held = queue.wait(job, live, observed.kueue_trouble, now) if queue.held(live) else None
    return Plan(
        state=_state_of(job, live),
        message=held.message if held else _waiting(live),
        attempt=live.number,
        run=run,
        obsolete=clearing.over_already(job, observed),
        pods={} if held else {pod.name: pod.uid for pod in live.pods},
        wait=held,
        admitted=admitted,
        requeue_after=_next_clock(job, live, admitted, now),
    )


def _finished(job: FineTuneJob, last: AttemptRecord, observed: Observed, settings: Settings) -> Plan:
    """No attempt starts any more; pods are cleared as runPolicy.cleanPods says, and GPUs never stay taken."""
    is_trained = last.reason == "Succeeded"
    ended = Plan(
        state=State.SUCCEEDED if is_trained else State.FAILED,
        message=last.message,
        attempt=last.number,
        obsolete=clearing.over(job, last, observed),
        admitted=job.recorded.admitted,
    )
    return _exported(ended, export.stage(job, observed, settings)) if is_trained else ended


def _kept(job: FineTuneJob, over: Plan, observed: Observed, now: datetime) -> Plan:
    """What is left goes in its time, which a clock of ours tells, and no status."""
    due, going = retention.due(job, failed=over.state == State.FAILED), retention.children(job, observed)
    if over.state == State.EXPORTING or due is None or not going:
        return over
    if due > now:
        return replace(over, requeue_after=(due - now).total_seconds())
    return replace(over, obsolete=tuple(dict.fromkeys((*over.obsolete, *going))))


def _exported(trained: Plan, stands: export.Stage) -> Plan:
    """What becomes of a trained job that is to be exported."""
    if isinstance(stands, Exporting):
        return replace(trained, state=State.EXPORTING, message=stands.message, export=stands.start)
    if isinstance(stands, Refused):
        return replace(trained, state=State.FAILED, message=stands.message, reason=stands.reason)
    return trained


def _clear(
    job: FineTuneJob, last: AttemptRecord | None, observed: Observed, settings: Settings, now: datetime
) -> Plan:
    """Ranks of an old attempt must be gone before the next one starts; lost nodes alone are not waited for."""
    waits = [clearing.lost_at(pod, settings) for attempt in observed.attempts for pod in attempt.pods]
    seconds = [(wait - now).total_seconds() for wait in waits if wait is not None and wait > now]
    return Plan(
        state=State.SUSPENDED if job.spec.run_policy.suspend else State.RESTARTING,
        message=last.message if last else "",
        attempt=last.number if last else 0,
        obsolete=tuple(child for attempt in observed.attempts for child in clearing.deletable(attempt)),
        ends=any(attempt.pods for attempt in observed.attempts),
        admitted=job.recorded.admitted,
        requeue_after=min(seconds, default=None),
    )


def _start(
    job: FineTuneJob, last: AttemptRecord | None, observed: Observed, settings: Settings, now: datetime
) -> Plan:
    """The next attempt, unless the user or the backoff says not yet."""
    number = last.number + 1 if last else 1
    done = last.number if last else 0
    admitted = job.recorded.admitted
    if job.spec.run_policy.suspend:
        message = "spec.runPolicy.suspend is true"
        obsolete = () if observed.frozen is not None else unfinished(observed)
        return Plan(state=State.SUSPENDED, message=message, attempt=done, admitted=admitted, obsolete=obsolete)
    if observed.foreign:
        kind, name = observed.foreign[0]
        message = f"{kind} {name} of a deleted job of the same name is not gone yet"
        return Plan(
            state=State.STARTING, message=message, attempt=done, admitted=admitted, requeue_after=LOOK_AGAIN_SECONDS
        )
    due = _backoff_over(job, settings)
    if due is not None and due > now:
        message = (
            f"attempt {number} starts at {due:%H:%M:%S} UTC; attempt {done} ended: {last.message if last else ''}"
        )
        wait = (due - now).total_seconds()
        return Plan(state=State.RESTARTING, message=message, attempt=done, admitted=admitted, requeue_after=wait)
    ready = Ready() if observed.frozen is not None else stage(job, observed, settings)
    if not isinstance(ready, Ready):
        return _not_yet(ready)
    run = run_plan(job, number, settings, frozen=observed.frozen, prepared=ready.found)
    state = State.QUEUED if run.suspended else State.STARTING
    return Plan(state=state, attempt=number, run=run, admitted=admitted)


def _not_yet(prepares: Preparing | Refused) -> Plan:
    """Before attempt 1."""
    if isinstance(prepares, Refused):
        return Plan(state=State.FAILED, reason=prepares.reason, message=prepares.message)
    return Plan(state=State.PREPARING, message=prepares.message, prepare=prepares.start, obsolete=prepares.obsolete)


def _is_final(job: FineTuneJob, last: AttemptRecord) -> bool:
    """Success, a fault that another attempt can't mend, or no attempt left."""
    if last.reason == "Succeeded":
        return True
    failures = sum(record.counted for record in job.recorded.attempts)
    return not last.retryable or failures >= job.spec.run_policy.max_attempts


def _state_after(job: FineTuneJob, record: AttemptRecord) -> State:
    """The state that a fresh record leads to."""
    if record.reason == "Succeeded":
        return State.EXPORTING if export.awaits_export(job) else State.SUCCEEDED
    if record.reason == "Suspended":
        return State.SUSPENDED
    failures = sum(known.counted for known in job.recorded.attempts) + record.counted
    if not record.retryable or failures >= job.spec.run_policy.max_attempts:
        return State.FAILED
    return State.RESTARTING


def _state_of(job: FineTuneJob, live: ObservedAttempt) -> State:
    """The state of an attempt that goes on."""
    if queue.held(live):
        return State.QUEUED
    running = sum(pod.started is not None for pod in live.pods)
    return State.RUNNING if running >= job.spec.resources.nodes else State.STARTING


def _waiting(live: ObservedAttempt) -> str:
    """What the pods wait for, for people; first why there are not all of them."""
    missing = (
        f"{live.wanted - len(live.pods)} of {live.wanted} pods are refused: {live.refusal}" if live.refusal else ""
    )
    return "; ".join(filter(None, (missing, *(f"{pod.name}: {pod.waiting}" for pod in live.pods if pod.waiting))))


def _backoff_over(job: FineTuneJob, settings: Settings) -> datetime | None:
    """When the next attempt may start; the wait doubles with each attempt in a row that the user did not wish to end.

    A moment, not the seconds that are left: those would make every pass write another status, which wakes a pass.
    """
    streak = 0
    for record in reversed(job.recorded.attempts):
        if record.reason == "Suspended":
            break
        streak += 1
    last = job.recorded.attempts[-1] if job.recorded.attempts else None
    if not streak or last is None or last.finished is None:
        return None
    delay = min(settings.backoff_seconds * 2 ** (streak - 1), settings.backoff_limit_seconds)
    return last.finished + timedelta(seconds=delay)


def _next_clock(job: FineTuneJob, live: ObservedAttempt, admitted: datetime | None, now: datetime) -> float | None:
    """Seconds until the deadline, the start timeout, or another look at pods that are missing for no known reason.

    Of a held one, until it is looked at.
    """
    if queue.held(live):
        return queue.look_again(live, now)
    known = replace(job, recorded=replace(job.recorded, admitted=admitted))
    limits = (start_deadline(job, live), queue.deadline(known, now))
    waits = [(limit - now).total_seconds() for limit in limits if limit is not None]
    if (pods := missing.look_again(live, now)) is not None:
        waits.append(pods)
    return max(0.0, min(waits)) if waits else None
