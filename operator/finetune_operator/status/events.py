"""Pure: (previous status, new status) -> events at the turning points, for `kubectl describe`.

Each has a name of its own, `once`: the events of a pass that is repeated, because the operator ended or a write failed
in the middle of it, are the same ones, and the API server takes each name once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from finetune_operator import names
from finetune_operator.status import admission
from finetune_operator.status.conditions import find
from finetune_operator.status.told import Event

_SUCCEEDED = "Succeeded"


def events(previous: Mapping[str, Any] | None, new: Mapping[str, Any]) -> tuple[Event, ...]:
    """What happened between two statuses, in the order in which it did."""
    before = previous or {}
    return (
        *_ended(before, new),
        *_started(before, new),
        *admission.events(before, new),
        *_reached(before, new),
        *_over(before, new),
    )


def _ended(before: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Event]:
    """Attempts that have ended; success is told as the job's."""
    known = {attempt["number"] for attempt in before.get("attempts", ())}
    for attempt in new.get("attempts", ()):
        if attempt["number"] in known or attempt["reason"] == _SUCCEEDED:
            continue
        yield Event(
            reason=attempt["reason"],
            message=f"attempt {attempt['number']} ended: {attempt['message']}",
            type="Warning" if attempt["counted"] else "Normal",
            once=f"attempt {attempt['number']} ended",
        )


def _started(before: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Event]:
    number = _begun(new)
    if number <= _begun(before):
        return
    if number == 1:
        yield Event(reason="AttemptStarted", message="attempt 1 started", once="attempt 1 started")
        return
    attempts = new.get("attempts", ())
    step = attempts[-1].get("checkpointStep") if attempts else None
    where = "at step 0: no complete checkpoint is known" if step is None else f"from the checkpoint of step {step}"
    yield Event(
        reason="Restarted", message=f"attempt {number} started; it goes on {where}", once=f"attempt {number} started"
    )


def _begun(status: Mapping[str, Any]) -> int:
    """The newest attempt; none while its children are refused, or wait in a queue, which is what conditions tell."""
    is_refused = find(names.RECONCILING, status).get("status") == "True"
    return 0 if is_refused or status.get("queue", {}).get("since") else int(status.get("attempt", 0))


def _reached(before: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Event]:
    """What the conditions reach: all is prepared, all pods run, steps are made, there is a checkpoint."""
    number = new.get("attempt", 0)
    if _turned(names.PREPARED, before, new):
        message = str(find(names.PREPARED, new).get("message") or "the model and the data are there")
        yield Event(reason="Prepared", message=message, once="prepared")
    if _turned(names.PODS_READY, before, new):
        message = f"all pods of attempt {number} run"
        yield Event(reason="PodsRunning", message=message, once=f"attempt {number} pods")
    if _turned(names.TRAINING, before, new):
        told = new.get("progress", {})
        message = f"attempt {number} trains: step {told.get('step', 0)} of {told.get('totalSteps', 'unknown')}"
        yield Event(reason="TrainingStarted", message=message, once=f"attempt {number} trains")
    if _turned(names.CHECKPOINT_AVAILABLE, before, new):
        message = f"the first checkpoint is complete: {find(names.CHECKPOINT_AVAILABLE, new).get('message')}"
        yield Event(reason="CheckpointSaved", message=message, once="first checkpoint")
    if _turned(names.EXPORTED, before, new):
        message = str(find(names.EXPORTED, new).get("message"))
        yield Event(reason="Exported", message=message, once="exported")


def _over(before: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Event]:
    now, then = find(names.SUCCEEDED, new), find(names.SUCCEEDED, before)
    if now.get("status") == then.get("status"):
        return
    if now.get("status") == "True":
        yield Event(reason=_SUCCEEDED, message=str(now.get("message") or "the job is done"), once="succeeded")
    elif now.get("status") == "False":
        failures = sum(bool(attempt["counted"]) for attempt in new.get("attempts", ()))
        message = f"the job has failed ({now.get('reason')}) after {failures} failed attempt{'s' * (failures != 1)}"
        yield Event(reason="Failed", message=message, type="Warning", once="failed")


def _turned(kind: str, before: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a condition is true now, and was not."""
    return find(kind, new).get("status") == "True" and find(kind, before).get("status") != "True"
