"""Pure: why a job stands where it stands. One pass of the operator over it, retold as (aspect, words).

What a pass reads decides everything, so that the same code over the same objects tells the same story; only what pods
have posted since the last status write is not seen here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from finetune_operator import checks, observe, plan, spec
from finetune_operator.observe import Observed, ObservedAttempt, ObservedPod, RawChildren
from finetune_operator.plan import Plan
from finetune_operator.settings import Settings
from finetune_operator.spec import AttemptRecord, FineTuneJob

Line = tuple[str, str]


def lines(body: Mapping[str, Any], children: RawChildren, settings: Settings, now: datetime) -> Iterator[Line]:
    """What status says, what the job asks for, what the cluster has, which policy speaks, and what comes of it."""
    yield from _told(body)
    try:
        job = spec.parse(body)
    except spec.SpecInvalid as error:
        yield from (("refused", str(violation)) for violation in error.violations)
        return
    observed = observe.of(children, uid=job.uid)
    yield from _asks(job)
    yield from _happened(job)
    yield from _seen(observed)
    planned = plan.make(job, observed, settings, now)
    if violations := checks.at_the_door(job, observed, settings, starts=planned.makes_pods):
        yield from (("refused", str(violation)) for violation in violations)
        return
    yield from _judged(job, observed, now)
    yield from _decided(planned)


def _told(body: Mapping[str, Any]) -> Iterator[Line]:
    """What the operator has written, and whether it has seen the newest edit."""
    status, generation = body.get("status") or {}, body["metadata"].get("generation", 0)
    seen = status.get("observedGeneration", -1)
    yield "status", ": ".join(filter(None, (status.get("state"), status.get("message")))) or "nothing yet"
    if seen != generation:
        which = "has not looked at this job yet" if seen == -1 else f"has seen generation {seen}, this is {generation}"
        yield "", f"the operator {which}: is it running, and does it serve this namespace?"
    for condition in status.get("conditions", ()):
        since, said = condition["lastTransitionTime"], condition.get("message") or "-"
        yield "", f"{condition['type']}={condition['status']} {condition['reason']} since {since}: {said}"


def _asks(job: FineTuneJob) -> Iterator[Line]:
    wanted, method = job.spec, job.training.finetuning
    ranks = f"{wanted.resources.nodes} x {wanted.processes_per_node} = {wanted.world_size} ranks"
    yield "asks for", f"{ranks}, {method.stage}, {method.finetuning_type}, by {wanted.launcher}"
    yield from (("", note) for note in job.notes)


def _happened(job: FineTuneJob) -> Iterator[Line]:
    """Attempts that have ended, and what they leave of maxAttempts."""
    for record in job.recorded.attempts:
        yield f"attempt {record.number}", _ended(record)
    failures, allowed = sum(one.counted for one in job.recorded.attempts), job.spec.run_policy.max_attempts
    yield "failures", f"{failures} of {allowed} (spec.runPolicy.maxAttempts)"


def _ended(record: AttemptRecord) -> str:
    where = "".join((f", rank {record.rank}" * (record.rank is not None), f" on {record.node}" if record.node else ""))
    step = f", step {record.step}" if record.step is not None else ""
    kept = f", checkpoint {record.checkpoint_step}" if record.checkpoint_step is not None else ""
    counts = "counts" if record.counted else "does not count"
    again = "" if record.retryable else ", and another attempt would end the same way"
    return f"{record.reason}{where}{step}{kept}; it {counts}{again}: {record.message}"


def _seen(observed: Observed) -> Iterator[Line]:
    """The children, as the API server has them now."""
    for role, side in (("prepare", observed.prepare), ("export", observed.export)):
        if side is not None:
            yield role, f"Job {side.name} is {side.phase}{f'; {side.waiting}' if side.waiting else ''}"
    if observed.frozen is not None:
        yield "frozen", f"spec {observed.frozen.spec_hash} and image {observed.frozen.image}, by attempt 1"
    for attempt in observed.attempts:
        yield from _attempt(attempt)
    for kind, name in observed.foreign:
        yield "foreign", f"{kind} {name} is of a deleted job of this name: nothing starts beside it"


def _attempt(attempt: ObservedAttempt) -> Iterator[Line]:
    there = f"its PyTorchJob is {attempt.phase or 'new'}" if attempt.exists else "its PyTorchJob is not there"
    held = ", held by its queue" if attempt.suspended else ""
    yield f"attempt {attempt.number}", f"{there}{held}{f': {attempt.message}' if attempt.message else ''}"
    for pod in attempt.pods:
        yield "", _pod(pod)


def _pod(pod: ObservedPod) -> str:
    parts = [f"{pod.name} on {pod.node or 'no node yet'}: {pod.phase}", pod.waiting, pod.disruption]
    if pod.deleting:
        parts.append("being deleted")
    if pod.outcome is not None:
        parts.append(f"left the word {pod.outcome.result} {pod.outcome.reason}".rstrip())
    elif pod.terminated is not None:
        parts.append(f"ended with exit code {pod.exit_code} ({pod.terminated})")
    return "; ".join(filter(None, parts))


def _judged(job: FineTuneJob, observed: Observed, now: datetime) -> Iterator[Line]:
    """Every policy that is asked about the live attempt, up to the one that speaks."""
    case = plan.running(job, observed, now)
    if case is None:
        return
    head = "judged"
    for policy in plan.asked(case):
        verdict = policy(case)
        if verdict is not None:
            yield head, f"{policy.__name__} speaks, and decides: {verdict.reason}: {verdict.message}"
            return
        yield head, f"{policy.__name__} is silent; it speaks of this: {(policy.__doc__ or '').partition(chr(10))[0]}"
        head = ""
    yield "", f"nobody speaks: attempt {case.attempt.number} goes on"


def _decided(planned: Plan) -> Iterator[Line]:
    """What a pass at this moment does."""
    yield "decided", ": ".join(filter(None, (planned.state.value, planned.message)))
    starts = {"preparation": planned.prepare, f"attempt {planned.attempt}": planned.run, "export": planned.export}
    yield from (("", f"{what} is applied") for what, wanted in starts.items() if wanted is not None)
    yield from (("", f"{kind} {name} is deleted") for kind, name in planned.obsolete)
    if planned.requeue_after is not None:
        yield "", f"looks again in {planned.requeue_after:.0f} s, and whenever something changes"
