"""Files that are YAML and speak of training, but are no LLaMA-Factory configuration: recognised, with what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of file that people hand to us by mistake."""

    marks: frozenset[str]
    """Keys that only such a file has."""
    enough: int
    """How many of them give it away."""
    message: str


KINDS = (
    Kind(
        marks=frozenset(
            {"compute_environment", "distributed_type", "num_machines", "machine_rank", "mixed_precision"}
        ),
        enough=2,
        message="this is a launch configuration of accelerate, not of a training: the job (or torchrun) starts the "
        "ranks; write fsdp: full_shard and fsdp_config into the training's own YAML, or deepspeed: zero3",
    ),
    Kind(
        marks=frozenset({"peft_config", "dist_config", "kernel_config", "train_dataset", "micro_batch_size"}),
        enough=2,
        message="this is a configuration of LLaMA-Factory's second generation (USE_V1=1), whose keys are others: "
        "write dataset for train_dataset, finetuning_type and lora_* for peft_config, per_device_train_batch_size for "
        "micro_batch_size, fsdp or deepspeed for dist_config",
    ),
    Kind(
        marks=frozenset({"peft_config", "model"}),
        enough=2,
        message="this is a configuration of LLaMA-Factory's second generation (USE_V1=1), whose keys are others: "
        "write model_name_or_path for model, and finetuning_type or adapter_name_or_path for peft_config",
    ),
    Kind(
        marks=frozenset({"tensor_model_parallel_size", "pipeline_model_parallel_size", "expert_model_parallel_size"}),
        enough=1,
        message="this is a configuration for Megatron-core (USE_MCA=1), which is not supported: deepspeed: zero3 "
        "splits the same models over the same GPUs; take Megatron's keys out",
    ),
)


def recognise(mapping: Mapping[str, Any]) -> tuple[str, str] | None:
    """(a key that gives the file away, what it is and what to do); None: an ordinary configuration, right or wrong."""
    for kind in KINDS:
        found = [name for name in mapping if name in kind.marks]
        if len(found) >= kind.enough:
            return found[0], kind.message
    return None
