"""Pods that the training operator has not made yet: when to ask why.

Under a thousand jobs it needs minutes, and each question walks over all events of a namespace.
"""

from __future__ import annotations

from datetime import datetime

from finetune_operator.observe import ObservedAttempt
from finetune_operator.plan import queue

FIRST_SECONDS = 5.0
LONGEST_SECONDS = 60.0


def asks_why(live: ObservedAttempt, now: datetime) -> bool:
    """It has waited for its pods for longer than they usually need."""
    return live.lacks_pods and _age(live, now) >= FIRST_SECONDS


def look_again(live: ObservedAttempt, now: datetime) -> float | None:
    """Seconds until the question is worth it (again): as long as it has waited; None where the answer is known."""
    if not live.lacks_pods or live.refusal:
        return None
    age = _age(live, now)
    return FIRST_SECONDS - age if age < FIRST_SECONDS else min(age, LONGEST_SECONDS)


def _age(live: ObservedAttempt, now: datetime) -> float:
    since = queue.let_in(live)
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
