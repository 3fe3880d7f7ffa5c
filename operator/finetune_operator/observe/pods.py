"""One raw pod -> ObservedPod: what the kubelet, the scheduler and our supervisor say about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, get_args

from finetune_operator import names
from finetune_operator.observe.types import ObservedPod
from finetune_trainer.records import Outcome, Result

Raw = dict[str, Any]


def timestamp(text: str | None) -> datetime | None:
    """A Kubernetes timestamp; the zero time, which a container that never started carries, is None."""
    if not text or text.startswith("1970-"):
        return None
    return datetime.fromisoformat(text)


def node_rank(raw: Raw) -> int | None:
    """The node's rank by the training operator's labels; None for a pod that is not one of its replicas."""
    labels = raw["metadata"].get("labels", {})
    index = labels.get(names.TRAINING_INDEX_LABEL, "")
    if not index.isdigit():
        return None
    return 0 if labels.get(names.TRAINING_TYPE_LABEL) == "master" else int(index) + 1


def pod(raw: Raw, rank: int) -> ObservedPod:
    """Everything that a pass may ask about one pod."""
    metadata, status = raw["metadata"], raw.get("status", {})
    main = _trainer(status)
    state = main.get("state", {})
    running, ended = state.get("running"), state.get("terminated") or {}
    outcome = _outcome(ended.get("message", ""))
    return ObservedPod(
        name=metadata["name"],
        uid=metadata["uid"],
        node_rank=rank,
        node=raw.get("spec", {}).get("nodeName"),
        phase=status.get("phase", "Pending"),
        deleting="deletionTimestamp" in metadata,
        gone_by=timestamp(metadata.get("deletionTimestamp")),
        disruption=_disruption(status),
        running=running is not None,
        started=timestamp((running or ended).get("startedAt")),
        waiting=_waiting(status, raw.get("spec", {}).get("nodeName")),
        terminated=ended.get("reason") or (_pod_reason(status) if not running else None),
        exit_code=ended.get("exitCode"),
        outcome=outcome,
        message=_message(status, "" if outcome else ended.get("message", "")),
        image_digest=_digest(main.get("imageID", "")),
    )


def _trainer(status: Raw) -> Raw:
    """The status of the trainer's container; empty before the kubelet reports one."""
    found = (one for one in status.get("containerStatuses", []) if one["name"] == names.CONTAINER)
    return next(found, {})


def _outcome(message: str) -> Outcome | None:
    """The supervisor's record, where the termination message is one."""
    try:
        outcome = Outcome.from_json(message)
    except ValueError:
        return None
    return outcome if outcome.result in get_args(Result) else None


def _condition(status: Raw, kind: str) -> Raw:
    return next((one for one in status.get("conditions", []) if one["type"] == kind), {})


def _disruption(status: Raw) -> str | None:
    """Why the cluster takes the pod: drained, evicted, preempted."""
    target = _condition(status, "DisruptionTarget")
    return _sentence(target) if target.get("status") == "True" else None


def _pod_reason(status: Raw) -> str | None:
    """The kubelet's reason for a pod that failed as a whole: Evicted, NodeShutdown, OutOfcpu ..."""
    return status.get("reason") if status.get("phase") == "Failed" else None


def _waiting(status: Raw, node: str | None) -> str | None:
    """What keeps a pending pod: the scheduler's word, the node's silence, or the first container that waits for more
    than its turn.
    """
    if status.get("phase", "Pending") != "Pending":
        return None
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return _sentence(scheduled)
    waiting = list(_waiting_containers(status))
    troubled = (one for one in waiting if one.get("reason") not in {"PodInitializing", "ContainerCreating"})
    chosen = next(troubled, waiting[0] if waiting else None)
    if chosen is None and scheduled.get("status") == "True" and not status.get("containerStatuses"):
        return f"Scheduled: {node} has not started it"
    return _sentence(chosen) if chosen else None


def _waiting_containers(status: Raw) -> Iterator[Raw]:
    """The waiting states of init containers, then of containers, in their order."""
    for one in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        waiting = one.get("state", {}).get("waiting")
        if waiting is not None:
            yield waiting


def _message(status: Raw, termination: str) -> str:
    """The termination message, else the pod's own, else what its failed init container left."""
    return termination or status.get("message") or _init_failure(status.get("initContainerStatuses", []))


def _init_failure(containers: Iterable[Raw]) -> str:
    for one in containers:
        ended = one.get("state", {}).get("terminated") or {}
        if ended.get("exitCode"):
            told = f": {ended['message'].strip()}" if ended.get("message") else ""
            return f"init container {one['name']} ended with exit code {ended['exitCode']}{told}"
    return ""


def _sentence(state: Raw) -> str:
    """`Reason: message`, or the reason alone."""
    reason, message = state.get("reason", "Unknown"), state.get("message", "")
    return f"{reason}: {message}" if message else reason


def _digest(image_id: str) -> str | None:
    """repository@sha256:...; a runtime that knows the local id only says nothing useful for another node."""
    return image_id.split("://", 1)[-1] if "@sha256:" in image_id else None
