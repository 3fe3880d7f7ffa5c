"""A job's file -> what is trained and on what, for `finetune estimate`."""

from __future__ import annotations

from finetune_operator.cli import door, manifest
from finetune_trainer.config import TrainConfig
from finetune_trainer.sizing import Machine, bytes_of


def read(file: str) -> tuple[TrainConfig, Machine]:
    """By the manifest alone; what the operator's settings forbid may be sized all the same.

    Raises:
        ManifestInvalid: every violation at its line.
    """
    job = door.parse(manifest.read(file))
    resources = job.spec.resources
    said = resources.gpu_memory
    return job.training, Machine(
        nodes=resources.nodes,
        processes=job.spec.processes_per_node,
        memory=bytes_of(said) if said else None,
        gpu=resources.gpus_per_node > 0,
    )
