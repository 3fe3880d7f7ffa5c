"""The Jobs before and after the attempts: what is to be rendered, why one waits, and why it will not be done."""

from __future__ import annotations

from dataclasses import dataclass

from finetune_operator.observe import ObservedJob, Told
from finetune_operator.plan.run import RunPlan
from finetune_operator.spec.policies import SideJob


@dataclass(frozen=True, kw_only=True, slots=True)
class SideJobPlan:
    """A Job of one pod without a GPU, ready to be rendered."""

    name: str
    run: RunPlan
    """What its pod has in common with the ranks'; attempt 0."""
    said: SideJob
    """Of the manifest: what it asks for, and where it may run."""
    retries: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """It failed for good, or what it found refuses the job."""

    reason: str
    message: str


def waiting(seen: ObservedJob[Told], what: str) -> str:
    """For people; empty where all is well. `what`: the preparation, the export."""
    if seen.waiting is not None:
        return f"{what} waits: {seen.waiting}"
    if seen.found is not None and seen.retries:
        return f"{what} is tried again, after {seen.retries} failures: {seen.found.message}"
    return ""


def failed(seen: ObservedJob[Told], reason: str) -> Refused:
    """By the pod's own word, else by the Job's, and with `reason`."""
    again = f"when that is mended, `kubectl delete job {seen.name}` has it tried again"
    if seen.found is not None and seen.found.result == "failed":
        return Refused(reason=seen.found.reason, message=f"{seen.found.message}; {again}")
    why = seen.message or "its pod left no word"
    return Refused(reason=reason, message=f"Job {seen.name}: {why}; {again}")
