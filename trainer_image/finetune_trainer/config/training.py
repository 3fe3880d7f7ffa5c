"""LLaMA-Factory's TrainingArguments: Hugging Face's, and its own for Ray, profiling and FP8."""

from __future__ import annotations

from typing import Literal

from finetune_trainer.config.key import Group, key
from finetune_trainer.config.optimisation import BatchKeys, OptimiserKeys, PrecisionKeys
from finetune_trainer.config.running import DistributionKeys, EvaluationKeys, LoadingKeys, LoggingKeys, SavingKeys
from finetune_trainer.config.types import Flag, Int, Mapping, Names


class RayKeys(Group):
    """RayArguments."""

    ray_num_workers: Int = key(1, "Workers that Ray starts.", built=False)
    ray_init_kwargs: Mapping | None = key(None, "Settings of Ray.", built=False)
    master_addr: str | None = key(None, "Address of Ray's first worker; for torchrun the job sets it.", built=False)
    master_port: Int | str | None = key(None, "Port of Ray's first worker; for torchrun the job sets it.", built=False)


class ProfilerKeys(Group):
    """ProfilerArguments."""

    enable_torch_profiler: Flag = key(False, "Record steps with PyTorch's profiler.", built=False)
    profiler_output_dir: str | None = key(None, "Folder for the profiler's records.", built=False)
    profiler_wait_steps: Int = key(1, "Steps before the profiler warms up.", built=False)
    profiler_warmup_steps: Int = key(1, "Steps of the profiler's warm-up.", built=False)
    profiler_active_steps: Int = key(1, "Steps that the profiler records.", built=False)
    profiler_repeat: Int = key(1, "How often the profiler does so; 0 to the end.", built=False)
    profiler_record_shapes: Flag = key(True, "Record shapes of tensors.", built=False)
    profiler_profile_memory: Flag = key(True, "Record memory.", built=False)
    profiler_with_stack: Flag = key(True, "Record where in the code.", built=False)
    profile_modules: Names = key((), "Modules whose time is logged.", built=False)


class Fp8Keys(Group):
    """Fp8Arguments."""

    fp8: Flag = key(False, "Compute in eight-bit floats.", built=False)
    fp8_backend: Literal["auto", "torchao", "te", "msamp"] = key("auto", "Library for eight-bit floats.", built=False)
    fp8_enable_fsdp_float8_all_gather: Flag = key(False, "Gather FSDP's weights in eight bits.", built=False)


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
