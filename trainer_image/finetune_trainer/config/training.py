"""LLaMA-Factory's TrainingArguments: Hugging Face's, and its own for Ray, profiling and FP8."""

from __future__ import annotations

from typing import Literal

from finetune_trainer.config.key import Group, key
from finetune_trainer.config.optimisation import BatchKeys, OptimiserKeys, PrecisionKeys
from finetune_trainer.config.running import DistributionKeys, EvaluationKeys, LoadingKeys, LoggingKeys, SavingKeys
from finetune_trainer.config.types import Flag, Int, Mapping, Names

_RAY = "Ray is not supported: torchrun starts the ranks of a node (NPROC_PER_NODE), NNODES and NODE_RANK join nodes"


class RayKeys(Group):
    """RayArguments."""

    ray_num_workers: Int = key(1, "Workers that Ray starts.", refused=_RAY)
    ray_init_kwargs: Mapping | None = key(None, "Settings of Ray.", refused=_RAY)
    master_addr: str | None = key(
        None,
        "Address of Ray's first worker; for torchrun the job sets it.",
        refused="set the variable MASTER_ADDR; in a job the operator does",
    )
    master_port: Int | str | None = key(
        None,
        "Port of Ray's first worker; for torchrun the job sets it.",
        refused="set the variable MASTER_PORT; in a job the operator does",
    )


class ProfilerKeys(Group):
    """ProfilerArguments."""

    enable_torch_profiler: Flag = key(False, "Record steps with PyTorch's profiler.")
    profiler_output_dir: str | None = key(None, "Folder for the profiler's records.")
    profiler_wait_steps: Int = key(1, "Steps before the profiler warms up.", ge=0)
    profiler_warmup_steps: Int = key(1, "Steps of the profiler's warm-up.", ge=0)
    profiler_active_steps: Int = key(1, "Steps that the profiler records.", gt=0)
    profiler_repeat: Int = key(1, "How often the profiler does so; 0 to the end.", ge=0)
    profiler_record_shapes: Flag = key(True, "Record shapes of tensors.")
    profiler_profile_memory: Flag = key(True, "Record memory.")
    profiler_with_stack: Flag = key(True, "Record where in the code.")
    profile_modules: Names = key((), "Modules whose time is logged, by names with * and ?.")


class Fp8Keys(Group):
    """Fp8Arguments."""

    fp8: Flag = key(False, "Multiply matrices in eight-bit floats; needs a GPU of Ada or Hopper kind.")
    fp8_backend: Literal["auto", "torchao", "te", "msamp"] = key(
        "auto", "Library for eight-bit floats.",
        refused="only torchao multiplies in FP8 here, without a patched Accelerator; write torchao",
        accepts=("torchao",),
    )  # fmt: skip
    fp8_enable_fsdp_float8_all_gather: Flag = key(
        False, "Gather FSDP's weights in eight bits.",
        refused="scales for each row, which fp8 takes, cannot be gathered so (LLaMA-Factory only logs the wish); "
        "write fp8: true alone",
    )  # fmt: skip


class TrainingGroup(
    Fp8Keys,
    ProfilerKeys,
    RayKeys,
    DistributionKeys,
    LoadingKeys,
    SavingKeys,
    EvaluationKeys,
    LoggingKeys,
    PrecisionKeys,
    OptimiserKeys,
    BatchKeys,
):
    """Batches, learning rate, precision, checkpoints, ranks."""

    overwrite_output_dir: Flag = key(
        False,
        "Begin anew although output_dir holds checkpoints; nothing is deleted, later attempts go on all the same.",
    )
