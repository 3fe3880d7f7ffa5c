"""Pure: what a job's status tells that the one before it did not: attempts that ended, and a wait that is over.

Kept between the two is little: a number of each job, and of one that waits since when. A status may hold anything, as
people may write to it; what makes no sense is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

LONGEST_SECONDS = 10 * 365 * 86_400
"""Of an attempt: nobody's clock is to ruin a sum of which nothing can be taken off again."""


class Ended(NamedTuple):
    """An attempt that has ended."""

    reason: str
    gpu_seconds: float
    lost_gpu_seconds: float


class Waiting(NamedTuple):
    """A job that its queue holds."""

    since: float
    """Unix seconds."""
    admissions: int
    """So often it had been let in before."""


class Waited(NamedTuple):
    """A wait that ended with an admission."""

    queue: str
    seconds: float


def newest(status: Mapping[str, Any]) -> int:
    """Number of the newest attempt that has ended; 0 where none has."""
    return max((number for number, _ in _records(status)), default=0)


def ended(status: Mapping[str, Any], after: int) -> list[Ended]:
    """Attempts that ended after the one of this number."""
    return [_ended(record) for number, record in _records(status) if number > after]


def waiting(status: Mapping[str, Any]) -> Waiting | None:
    """Since when it waits; None: it does not."""
    queue = _mapping(status.get("queue"))
    since = seconds(queue.get("since"))
    return None if since is None else Waiting(since=since, admissions=_count(queue.get("admissions")))


def waited(before: Waiting | None, status: Mapping[str, Any]) -> Waited | None:
    """The wait that is over; None also where it ended otherwise, as when the user suspends the job."""
    queue = _mapping(status.get("queue"))
    admitted = seconds(queue.get("admittedTime"))
    now = waiting(status)
    goes_on = now is not None and before is not None and now.since == before.since
    if before is None or admitted is None or goes_on or _count(queue.get("admissions")) <= before.admissions:
        return None
    return Waited(queue=str(queue.get("name", "")), seconds=max(0.0, admitted - before.since))


def seconds(said: object) -> float | None:
    """A Kubernetes timestamp as Unix seconds; None for anything else."""
    try:
        return datetime.fromisoformat(str(said)).timestamp()
    except ValueError:
        return None


def _records(status: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """status.attempts, each with its number."""
    said = status.get("attempts")
    for record in said if isinstance(said, list | tuple) else ():
        if number := _count(_mapping(record).get("number")):
            yield number, record


def _ended(record: Mapping[str, Any]) -> Ended:
    begin, end = seconds(record.get("startTime")), seconds(record.get("finishTime"))
    took = 0.0 if begin is None or end is None else min(max(0.0, end - begin), LONGEST_SECONDS)
    gpus = _count(record.get("gpus"))
    lost = min(_count(record.get("lostSeconds")), took)
    return Ended(reason=str(record.get("reason", "Unknown")), gpu_seconds=gpus * took, lost_gpu_seconds=gpus * lost)


def _mapping(said: object) -> Mapping[str, Any]:
    return said if isinstance(said, Mapping) else {}


def _count(said: object) -> int:
    return said if isinstance(said, int) and said > 0 else 0
