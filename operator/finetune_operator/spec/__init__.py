"""Pure: manifest -> FineTuneJob, or SpecInvalid with the path of every wrong field.

Law: the one door of the operator. Behind it nobody touches a raw manifest's spec again. Knows the shape of the
manifest and who owns a key; neither the cluster nor what becomes of the job.
"""

from finetune_operator.spec.locations import DATASET_SCHEMES, MODEL_SCHEMES, Location, claims, parse_location
from finetune_operator.spec.machine import machine_of
from finetune_operator.spec.parse import FineTuneJob, parse
from finetune_operator.spec.recorded import (
    AttemptRecord,
    QueueRecord,
    Recorded,
    attempt_from_status,
    attempt_to_status,
    from_time,
    pods_to_status,
    queue_to_status,
    recorded_from_status,
    to_time,
)
from finetune_operator.spec.shape import nearest
from finetune_operator.spec.types import FineTuneJobSpec
from finetune_operator.spec.violation import SpecInvalid, Violation

__all__ = [
    "DATASET_SCHEMES",
    "MODEL_SCHEMES",
    "AttemptRecord",
    "FineTuneJob",
    "FineTuneJobSpec",
    "Location",
    "QueueRecord",
    "Recorded",
    "SpecInvalid",
    "Violation",
    "attempt_from_status",
    "attempt_to_status",
    "claims",
    "from_time",
    "machine_of",
    "nearest",
    "parse",
    "parse_location",
    "pods_to_status",
    "queue_to_status",
    "recorded_from_status",
    "to_time",
]
