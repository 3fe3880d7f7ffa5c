"""A job's file -> what is trained and on what, for `finetune estimate`."""

from __future__ import annotations

from finetune_operator.cli import door, manifest
from finetune_operator.spec import machine_of
from finetune_trainer.config import TrainConfig
from finetune_trainer.sizing import Machine


def read(file: str) -> tuple[TrainConfig, Machine]:
    """By the manifest alone; what the operator's settings forbid may be sized all the same.

    Raises:
        ManifestInvalid: every violation at its line.
    """
    job = door.parse(manifest.read(file))
    return job.training, machine_of(job.spec)
