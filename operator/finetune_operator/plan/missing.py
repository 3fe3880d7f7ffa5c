"""Pods that the training operator has not made yet: when to ask again why.

Under a thousand jobs it needs minutes, and each look is a pass.
"""

from __future__ import annotations

from datetime import datetime

from finetune_operator.observe import ObservedAttempt
from finetune_operator.plan import queue

SHORTEST_SECONDS = 1.0
LONGEST_SECONDS = 60.0


def look_again(live: ObservedAttempt, now: datetime) -> float | None:
    """Seconds until the question is worth it again: as long as it has waited; None where the answer is known."""
    since = queue.let_in(live)
    if not live.lacks_pods or live.refusal:
        return None
    age = 0.0 if since is None else (now - since).total_seconds()
    return min(max(age, SHORTEST_SECONDS), LONGEST_SECONDS)
