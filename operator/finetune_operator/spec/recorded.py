"""What our own status remembers from pass to pass, from and to the mappings of `status`.

Reading is tolerant: an entry that makes no sense (edited by hand, or by a newer operator) is left out rather than
stopping the job. Times are UTC with whole seconds, as Kubernetes writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRecord:
    """status.attempts[]: one attempt that has ended, written before anything of it is deleted."""

    number: int
    reason: str
    message: str
    counted: bool
    """It failed, and counts towards maxAttempts (a suspension, or an init container's give-up, does not)."""
    started: datetime | None = None
    finished: datetime | None = None
    retryable: bool = True
    rank: int | None = None
    node: str | None = None
    step: int | None = None
    checkpoint_step: int | None = None
    log_tail: str = ""
    gpus: int = 0
    """That it held when it ended."""
    lost_seconds: int = 0
    """Of its time that have to be repeated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueRecord:
    """status.queue: where the job stands in its queue, and what of its past the cluster forgets."""

    name: str = ""
    """The LocalQueue."""
    state: str = ""
    """Waiting, Reserved, Admitted, Evicted, as Kueue's Workload has it; empty before there is one."""
    workload: str | None = None
    cluster_queue: str | None = None
    flavors: tuple[str, ...] = ()
    position: int | None = None
    position_in_cluster_queue: int | None = None
    admission: str | None = None
    """When Kueue admitted it last: pods that were seen under another admission are not this one's."""
    admissions: int = 0
    evictions: int = 0
    since: datetime | None = None
    """Since when it waits; None while it does not."""
    waited_seconds: int = 0
    """In the queue since its first admission, without the present wait: the deadline leaves them out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """What our own status said before this pass: memory that the cluster's objects can't hold."""

    attempts: tuple[AttemptRecord, ...] = ()
    """By number, rising; each number once."""
    pods: dict[str, str] = field(default_factory=dict)
    """Name -> uid of the running attempt's pods, as first seen."""
    admitted: datetime | None = None
    """First admission: the deadline's clock."""
    queue: QueueRecord | None = None
    """None for a job that never had a queue."""
    status: dict[str, Any] = field(default_factory=dict)
    """The whole of status, as read."""


def attempt_to_status(record: AttemptRecord) -> dict[str, Any]:
    """An entry of status.attempts; what is not known is left out."""
    entry = {
        "number": record.number,
        "reason": record.reason,
        "message": record.message,
        "counted": record.counted,
        "startTime": record.started and to_time(record.started),
        "finishTime": record.finished and to_time(record.finished),
        "retryable": record.retryable,
        "rank": record.rank,
        "node": record.node,
        "step": record.step,
        "checkpointStep": record.checkpoint_step,
        "logTail": record.log_tail or None,
        "gpus": record.gpus or None,
        "lostSeconds": record.lost_seconds or None,
    }
    return {key: value for key, value in entry.items() if value is not None}


def attempt_from_status(entry: object) -> AttemptRecord | None:
    """What `attempt_to_status` wrote; None for an entry without a number."""
    if not isinstance(entry, Mapping) or (number := _int(entry, "number")) is None:
        return None
    return AttemptRecord(
        number=number,
        reason=_str(entry, "reason") or "Unknown",
        message=_str(entry, "message") or "",
        counted=_bool(entry, "counted", unsaid=True),
        started=from_time(entry.get("startTime")),
        finished=from_time(entry.get("finishTime")),
        retryable=_bool(entry, "retryable", unsaid=True),
        rank=_int(entry, "rank"),
        node=_str(entry, "node"),
        step=_int(entry, "step"),
        checkpoint_step=_int(entry, "checkpointStep"),
        log_tail=_str(entry, "logTail") or "",
        gpus=_int(entry, "gpus") or 0,
        lost_seconds=_int(entry, "lostSeconds") or 0,
    )


def queue_to_status(record: QueueRecord) -> dict[str, Any]:
    """status.queue; what is not known is left out."""
    entry = {
        "name": record.name,
        "state": record.state or None,
        "workload": record.workload,
        "clusterQueue": record.cluster_queue,
        "flavors": list(record.flavors) or None,
        "position": record.position,
        "positionInClusterQueue": record.position_in_cluster_queue,
        "admittedTime": record.admission,
        "admissions": record.admissions,
        "evictions": record.evictions,
        "since": record.since and to_time(record.since),
        "waitedSeconds": record.waited_seconds,
    }
    return {key: value for key, value in entry.items() if value is not None}


def queue_from_status(entry: object) -> QueueRecord | None:
    """What `queue_to_status` wrote; None where there is nothing."""
    if not isinstance(entry, Mapping):
        return None
    return QueueRecord(
        name=_str(entry, "name") or "",
        state=_str(entry, "state") or "",
        workload=_str(entry, "workload"),
        cluster_queue=_str(entry, "clusterQueue"),
        flavors=tuple(flavor for flavor in _list(entry, "flavors") if isinstance(flavor, str)),
        position=_int(entry, "position"),
        position_in_cluster_queue=_int(entry, "positionInClusterQueue"),
        admission=_str(entry, "admittedTime"),
        admissions=_int(entry, "admissions") or 0,
        evictions=_int(entry, "evictions") or 0,
        since=from_time(entry.get("since")),
        waited_seconds=_int(entry, "waitedSeconds") or 0,
    )


def pods_to_status(pods: Mapping[str, str]) -> list[dict[str, str]]:
    """status.pods: name and uid of each pod, by name."""
    return [{"name": name, "uid": uid} for name, uid in sorted(pods.items())]


def recorded_from_status(status: object) -> Recorded:
    """Everything that a status remembers; an empty or odd one remembers nothing."""
    if not isinstance(status, Mapping):
        return Recorded()
    read = [record for entry in _list(status, "attempts") if (record := attempt_from_status(entry))]
    return Recorded(
        attempts=tuple({record.number: record for record in sorted(read, key=lambda record: record.number)}.values()),
        pods={
            name: uid
            for pod in _list(status, "pods")
            if isinstance(pod, Mapping) and (name := _str(pod, "name")) and (uid := _str(pod, "uid"))
        },
        admitted=from_time(status.get("admittedTime")),
        queue=queue_from_status(status.get("queue")),
        status=dict(status),
    )


def to_time(moment: datetime) -> str:
    """2026-01-31T12:00:00Z; fractions of a second are cut off."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_time(text: object) -> datetime | None:
    """What `to_time` wrote; None for anything that is no time with a zone."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


def _list(status: Mapping[str, Any], key: str) -> list[object]:
    value = status.get(key)
    return value if isinstance(value, list) else []


def _int(entry: Mapping[str, Any], key: str) -> int | None:
    value = entry.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _str(entry: Mapping[str, Any], key: str) -> str | None:
    value = entry.get(key)
    return value if isinstance(value, str) else None


def _bool(entry: Mapping[str, Any], key: str, *, unsaid: bool) -> bool:
    value = entry.get(key)
    return value if isinstance(value, bool) else unsaid
