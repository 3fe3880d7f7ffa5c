"""What a job is to run on, as its size is asked for."""

from __future__ import annotations

from finetune_operator.spec.types import FineTuneJobSpec
from finetune_trainer.sizing import Machine, bytes_of


def machine_of(spec: FineTuneJobSpec) -> Machine:
    """All its nodes, and what one GPU has, where that is said."""
    said = spec.resources.gpu_memory
    return Machine(
        nodes=spec.resources.nodes,
        processes=spec.processes_per_node,
        memory=bytes_of(said) if said else None,
        gpu=spec.resources.gpus_per_node > 0,
    )
