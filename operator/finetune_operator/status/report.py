"""(job, plan, observed, now) -> the whole of status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from finetune_operator import names
from finetune_operator.observe import Frozen, Observed
from finetune_operator.plan import PODS, Plan, State
from finetune_operator.plan.run import output_dir
from finetune_operator.spec import (
    AttemptRecord,
    FineTuneJob,
    Violation,
    attempt_to_status,
    pods_to_status,
    queue_to_status,
    to_time,
)
from finetune_operator.status import admission, exportation, preparation
from finetune_operator.status.conditions import Condition, merge
from finetune_operator.status.progress import shown
from finetune_trainer.records import Progress

ENDED = frozenset({State.SUCCEEDED, State.FAILED})
LONGEST_MESSAGE = 8192
"""Characters; a status that the schema refuses would tell nothing at all."""
TAILS_KEPT = 5
"""Older records lose their log tails, so that a job of many attempts stays small."""
UNCOUNTED_KEPT = 100
"""Of the attempts that do not count: a job may be drained or suspended as often as it likes. Failures are all kept."""

READY_MESSAGES = {
    State.PREPARING: "its model and data are prepared; no GPU is taken yet",
    State.QUEUED: "waiting in its queue",
    State.STARTING: "its pods are starting",
    State.RUNNING: "its pods run",
    State.RESTARTING: "the next attempt goes on from the last checkpoint",
    State.SUSPENDED: "suspended; the checkpoint is kept",
    State.EXPORTING: "trained; the adapter is merged into the model, and no GPU is taken any more",
    State.SUCCEEDED: "trained",
}


def of(job: FineTuneJob, plan: Plan, observed: Observed, now: datetime) -> dict[str, Any]:
    """The status of an accepted job."""
    previous = job.recorded.status
    records = _records(job, plan)
    values = {
        "observedGeneration": job.generation,
        "state": plan.state.value,
        "message": plan.message,
        "attempt": plan.attempt,
        "outputDir": output_dir(job, PODS),
        "startTime": previous.get("startTime") or (to_time(now) if plan.attempt else None),
        "admittedTime": to_time(plan.admitted) if plan.admitted else None,
        "queue": queue_to_status(plan.in_queue) if plan.in_queue else None,
        "completionTime": _completion(plan, previous, now),
        "preparation": preparation.shown(observed, previous),
        "exportedModel": exportation.shown(observed, previous),
        "progress": _progress(job, plan, observed, records),
        "attempts": [attempt_to_status(record) for record in records],
        "pods": pods_to_status(plan.pods),
        "conditions": merge(
            previous.get("conditions", ()), _conditions(job, plan, observed, records, previous), job.generation, now
        ),
    }
    return {key: value for key, value in values.items() if value is not None}


def rejected(
    body: Mapping[str, Any], violations: tuple[Violation, ...], now: datetime, *, reason: str = "Invalid"
) -> dict[str, Any]:
    """The status of a job that the operator can't accept; what was known of earlier attempts stays."""
    previous: Mapping[str, Any] = body.get("status") or {}
    generation = int(body["metadata"].get("generation", 0))
    message = "; ".join(str(violation) for violation in violations)[:LONGEST_MESSAGE]
    wanted = [
        Condition(type=names.READY, status="False", reason=reason, message=message),
        Condition(type=names.STALLED, status="True", reason=reason, message=message),
        Condition(type=names.ACCEPTED, status="False", reason=reason, message=message),
    ]
    told = {condition.type for condition in wanted} | {names.RECONCILING}
    kept = [condition for condition in previous.get("conditions", ()) if condition.get("type") not in told]
    return {
        **previous,
        "observedGeneration": generation,
        "state": State.REJECTED.value,
        "message": message,
        "conditions": merge(previous.get("conditions", ()), wanted, generation, now) + kept,
    }


def refused(
    body: Mapping[str, Any], told: Mapping[str, Any], reason: str, message: str, now: datetime
) -> dict[str, Any]:
    """The status that a pass wanted to tell, of a job of which the API server did not take a child.

    It is tried again, and people see why it waits. Times move with the body's conditions, not with each try.
    """
    wanted = [
        Condition(type=names.READY, status="False", reason=reason, message=message),
        Condition(type=names.RECONCILING, status="True", reason=reason, message=message),
    ]
    previous = (body.get("status") or {}).get("conditions", ())
    kept = [condition for condition in told["conditions"] if condition["type"] != names.READY]
    return {
        **told,
        "message": message,
        "conditions": merge(previous, wanted, told["observedGeneration"], now) + kept,
    }


def _records(job: FineTuneJob, plan: Plan) -> tuple[AttemptRecord, ...]:
    """Every attempt that has ended, each number once, the newest last."""
    known = {record.number: record for record in job.recorded.attempts}
    if plan.record is not None:
        known.setdefault(plan.record.number, plan.record)
    records = [known[number] for number in sorted(known)]
    forgotten = [record for record in records if not record.counted][:-UNCOUNTED_KEPT]
    kept = [record for record in records if record not in forgotten]
    return tuple(replace(record, log_tail="") for record in kept[:-TAILS_KEPT]) + tuple(kept[-TAILS_KEPT:])


def _completion(plan: Plan, previous: Mapping[str, Any], now: datetime) -> str | None:
    """When the job ended; set once."""
    if plan.state not in ENDED:
        return None
    return previous.get("completionTime") or to_time(now)


def _progress(
    job: FineTuneJob, plan: Plan, observed: Observed, records: tuple[AttemptRecord, ...]
) -> dict[str, Any] | None:
    """The newest post, or what was known before it; after success the outcome's last step."""
    active = plan.state in {State.RUNNING, State.PREPARING}
    if observed.progress is not None:
        last_step = records[-1].step if plan.state in {State.EXPORTING, State.SUCCEEDED} else None
        return shown(_at_least(observed.progress, last_step), active=active, output_dir=output_dir(job, PODS))
    known = dict(job.recorded.status.get("progress") or {})
    if "fetched" in known and plan.state != State.PREPARING:
        return None  # of the preparation: its 100 % are none of the training's
    if not active:
        known.pop("eta", None)
        known.pop("remainingSeconds", None)
    return known or None


def _at_least(progress: Progress, step: int | None) -> Progress:
    """The last post may be some steps older than the end of the run."""
    return progress if step is None else replace(progress, step=max(progress.step, step))


def _conditions(
    job: FineTuneJob,
    plan: Plan,
    observed: Observed,
    records: tuple[AttemptRecord, ...],
    previous: Mapping[str, Any],
) -> list[Condition]:
    """The visible list of conditions, in the order that people read them."""
    training = _training(plan, observed)
    candidates = (
        _ready(plan, training),
        _stalled(plan),
        _accepted(job, observed),
        preparation.condition(plan, observed, previous),
        admission.condition(job, plan),
        _pods_ready(plan, observed),
        training,
        _checkpoint(observed, records),
        exportation.condition(job, plan, observed, previous),
        _suspended(job, plan),
        _succeeded(plan, records),
    )
    return [condition for condition in candidates if condition is not None]


def _ready(plan: Plan, training: Condition) -> Condition:
    """True wherever the job is where it should be: a GitOps tool must not time out on a full queue."""
    if plan.state == State.FAILED:
        return Condition(type=names.READY, status="False", reason="Failed", message=plan.message)
    if plan.wait is not None and plan.wait.lasting:
        return Condition(type=names.READY, status="False", reason=plan.wait.reason, message=plan.message)
    usual = "training" if training.status == "True" else READY_MESSAGES[plan.state]
    return Condition(type=names.READY, status="True", reason=plan.state.value, message=plan.message or usual)


def _stalled(plan: Plan) -> Condition | None:
    """Present only where a person is needed: after a failure, or for a queue that will never let the job in."""
    if plan.wait is not None and plan.wait.lasting:
        return Condition(type=names.STALLED, status="True", reason=plan.wait.reason, message=plan.message)
    if plan.state != State.FAILED:
        return None
    return Condition(type=names.STALLED, status="True", reason="Failed", message=plan.message)


def _accepted(job: FineTuneJob, observed: Observed) -> Condition:
    """The spec is good; what it says against itself, or too late, is told here."""
    frozen = observed.frozen
    if frozen is not None and (frozen.spec_hash != job.hash_on(frozen.nodes) or _names_another_image(job, frozen)):
        message = (
            "model, datasets, training, output, processes or image were changed after attempt 1 had started: the run"
            " goes on as it was frozen then; delete the job and apply it again, or use a new name, to train with the"
            " change"
        )
        return Condition(type=names.ACCEPTED, status="True", reason="ChangeIgnored", message=message)
    return Condition(type=names.ACCEPTED, status="True", reason="Accepted", message="; ".join(job.notes))


def _names_another_image(job: FineTuneJob, frozen: Frozen) -> bool:
    """What the manifest leaves to the operator's settings may have changed with these: nobody asked for that."""
    repository, _, tag = frozen.image.rpartition(":")
    return job.spec.image.repository not in {None, repository} or job.spec.image.tag not in {None, tag}


def _pods_ready(plan: Plan, observed: Observed) -> Condition:
    """All ranks' pods run."""
    if plan.state == State.RUNNING:
        return Condition(type=names.PODS_READY, status="True", reason="AllRunning")
    are_refused = plan.state == State.STARTING and any(attempt.refusal for attempt in observed.attempts)
    reason = "PodsRefused" if are_refused else plan.state.value
    message = "" if plan.wait else plan.message  # Admitted tells it
    return Condition(type=names.PODS_READY, status="False", reason=reason, message=message)


def _training(plan: Plan, observed: Observed) -> Condition:
    """Steps are being made."""
    phase = observed.progress.phase if observed.progress else "starting"
    if plan.state == State.RUNNING and phase in {"training", "evaluating", "saving"}:
        return Condition(type=names.TRAINING, status="True", reason=phase.capitalize())
    reason = phase.capitalize() if plan.state == State.RUNNING else plan.state.value
    return Condition(type=names.TRAINING, status="False", reason=reason)


def _checkpoint(observed: Observed, records: tuple[AttemptRecord, ...]) -> Condition | None:
    """A complete checkpoint lies on the output volume; present once there is one."""
    steps = [record.checkpoint_step for record in records if record.checkpoint_step is not None]
    if observed.progress is not None and observed.progress.checkpoint_step is not None:
        steps.append(observed.progress.checkpoint_step)
    if not steps:
        return None
    message = f"checkpoint-{max(steps)}"
    return Condition(type=names.CHECKPOINT_AVAILABLE, status="True", reason="Saved", message=message)


def _suspended(job: FineTuneJob, plan: Plan) -> Condition | None:
    """Present for jobs that are, or once were, suspended: by their user, or by the queue that had let them in."""
    if plan.state == State.SUSPENDED and plan.ends:
        message = "a checkpoint is saved, then the pods end"
        return Condition(type=names.SUSPENDED, status="False", reason="Suspending", message=message)
    if plan.state == State.SUSPENDED:
        message = "spec.runPolicy.suspend is true; no node is taken"
        return Condition(type=names.SUSPENDED, status="True", reason="Suspended", message=message)
    if admission.is_evicted(plan):
        message = "evicted by its queue; Admitted says why"
        return Condition(type=names.SUSPENDED, status="True", reason=names.QUEUE_SUSPENDS, message=message)
    was_evicted = plan.in_queue is not None and plan.in_queue.evictions > 0
    if was_evicted or any(record.reason == "Suspended" for record in job.recorded.attempts):
        return Condition(type=names.SUSPENDED, status="False", reason="Resumed")
    return None


def _succeeded(plan: Plan, records: tuple[AttemptRecord, ...]) -> Condition:
    """The bounded job's summary: Unknown while it is active."""
    if plan.state == State.SUCCEEDED:
        return Condition(type=names.SUCCEEDED, status="True", reason="Succeeded", message=plan.message)
    if plan.state == State.FAILED:
        return Condition(
            type=names.SUCCEEDED, status="False", reason=plan.reason or records[-1].reason, message=plan.message
        )
    return Condition(type=names.SUCCEEDED, status="Unknown", reason=plan.state.value)
