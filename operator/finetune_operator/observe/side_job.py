"""The Job that prepares or exports and its pods -> ObservedJob."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from finetune_operator import names
from finetune_operator.observe.pods import pod
from finetune_operator.observe.types import ObservedJob, Told

Raw = dict[str, Any]


def of(children: Iterable[tuple[str, Raw]], *, role: str, record: type[Told]) -> ObservedJob[Told] | None:
    """What is known of a job's preparation or export, from all its children with their kinds; None without a Job.

    Args:
        children: of the FineTuneJob.
        role: `names.ROLE_PREPARE` or `names.ROLE_EXPORT`.
        record: what its pods leave in their termination messages.
    """
    ours = [(kind, raw) for kind, raw in children if raw["metadata"].get("labels", {}).get(names.LABEL_ROLE) == role]
    job = next((raw for kind, raw in ours if kind == "Job"), None)
    if job is None:
        return None
    phase, message = _phase(job.get("status", {}))
    in_order = sorted((raw for kind, raw in ours if kind == "Pod"), key=_created)
    newest = in_order[-1] if in_order else None
    told = [found for raw in in_order if (found := _found(raw, record)) is not None]
    succeeded = next((found for found in told if found.result == "succeeded"), None)
    return ObservedJob(
        name=job["metadata"]["name"],
        hash=job["metadata"].get("annotations", {}).get(names.ANNOTATION_PREPARES, ""),
        deleting="deletionTimestamp" in job["metadata"],
        phase=phase,
        message=message,
        found=succeeded or (told[-1] if told else None),
        waiting=pod(newest, 0).waiting if newest else None,
        pods=frozenset((raw["metadata"]["name"], raw["metadata"]["uid"]) for raw in in_order),
        retries=int(job.get("status", {}).get("failed") or 0),
    )


def _created(raw: Raw) -> str:
    return str(raw["metadata"].get("creationTimestamp", ""))


def _phase(status: Raw) -> tuple[Literal["Active", "Complete", "Failed"], str]:
    for condition in status.get("conditions", []):
        if condition["status"] == "True" and condition["type"] in ("Complete", "Failed"):
            return condition["type"], condition.get("message", "")
    return "Active", ""


def _found(raw: Raw, record: type[Told]) -> Told | None:
    """The record in a pod's termination message, where it left one."""
    for container in raw.get("status", {}).get("containerStatuses", []):
        ended = container.get("state", {}).get("terminated") or {}
        try:
            return record.from_json(ended.get("message", ""))
        except ValueError:
            continue
    return None
