"""Checkpoints: which one to resume from, marking one complete, and fencing off an older attempt's ranks.

Law: knows folders, marks and fences; not what is inside a checkpoint, nor when one is due. A checkpoint without a mark
is torn: it is never resumed from, and the job's next attempt clears it, when the job's own mark says that it began it.
"""

from __future__ import annotations

from finetune_trainer.checkpoints.find import (
    Checkpoint,
    Kind,
    choose,
    completed,
    found,
    has_weights,
    latest,
    look_at,
    resume_from,
    torn,
)
from finetune_trainer.checkpoints.keeper import Keeper
from finetune_trainer.checkpoints.rotation import obsolete

__all__ = [
    "Checkpoint",
    "Keeper",
    "Kind",
    "choose",
    "completed",
    "found",
    "has_weights",
    "latest",
    "look_at",
    "obsolete",
    "resume_from",
    "torn",
]
