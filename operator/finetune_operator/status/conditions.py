"""Conditions: metav1.Condition values whose transition time moves only when their status flips.

kstatus, Argo CD and Flux read Ready, Reconciling and Stalled; the last two are present only while they are True.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from finetune_operator.spec import to_time

MESSAGE_LIMIT = 1024
"""metav1.Condition allows 32 KiB; people read the first lines, and etcd keeps every revision."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """One line of status.conditions, without its times."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""


def find(kind: str, status: Mapping[str, Any]) -> Mapping[str, Any]:
    """A status's condition of a type; empty where there is none."""
    return next((one for one in status.get("conditions", ()) if one.get("type") == kind), {})


def merge(
    previous: Iterable[Mapping[str, Any]], wanted: Iterable[Condition], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """The wanted conditions, in their order, with the previous ones' transition times where the status is the same."""
    known = {condition.get("type"): condition for condition in previous}
    return [_with_times(condition, known.get(condition.type), generation, now) for condition in wanted]


def _with_times(
    condition: Condition, previous: Mapping[str, Any] | None, generation: int, now: datetime
) -> dict[str, Any]:
    """One condition as metav1.Condition."""
    same = previous is not None and previous.get("status") == condition.status
    since = previous.get("lastTransitionTime") if same and previous is not None else None
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message[:MESSAGE_LIMIT],
        "observedGeneration": generation,
        "lastTransitionTime": since or to_time(now),
    }
