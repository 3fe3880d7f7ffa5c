"""Pure: raw children, as the API server gave them -> Observed.

Law: reads children's `.status`; knows nothing of what we wish.
"""

from finetune_operator.observe.children import of
from finetune_operator.observe.types import (
    Frozen,
    Observed,
    ObservedAttempt,
    ObservedClaim,
    ObservedJob,
    ObservedPod,
    ObservedQueue,
    Posted,
    RawChildren,
    Told,
)

__all__ = [
    "Frozen",
    "Observed",
    "ObservedAttempt",
    "ObservedClaim",
    "ObservedJob",
    "ObservedPod",
    "ObservedQueue",
    "Posted",
    "RawChildren",
    "Told",
    "of",
]
