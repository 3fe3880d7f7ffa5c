"""transformers' TrainingArguments: the user's keys, and over them what our own rooms take care of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from transformers import TrainingArguments

from finetune_trainer import deepspeed
from finetune_trainer.config import TrainConfig, fsdp
from finetune_trainer.config.hf import to_training_arguments
from finetune_trainer.context import RunContext
from finetune_trainer.failures import RunError

OURS: Mapping[str, Any] = {
    "remove_unused_columns": False,
    "label_names": ["labels"],
    "logging_nan_inf_filter": False,  # a NaN must be seen
    "disable_tqdm": True,  # progress.screen draws
    "save_total_limit": None,  # checkpoints.Keeper rotates, after the commit
    "push_to_hub": False,
    "resume_from_checkpoint": None,  # checkpoints.resume_from decides
}


def deepspeed_config(cfg: TrainConfig, context: RunContext) -> dict[str, Any] | None:
    """DeepSpeed's configuration: what a file (in a job ds.json) or the YAML says, or what a name stands for."""
    return deepspeed.resolve(cfg, world_size=context.expected_world_size or context.place.world_size)


def arguments(cfg: TrainConfig, context: RunContext) -> TrainingArguments:
    """Make the arguments. With ZeRO-3 this must come before the model is loaded: it tells transformers to split it.

    Raises:
        RunError: transformers refuses a combination, or fp16 lacks a GPU.
    """
    accepted = frozenset(field.name for field in dataclasses.fields(TrainingArguments) if field.init)
    said = {**to_training_arguments(cfg, accepted=accepted), **OURS, "output_dir": str(context.output_dir)}
    if said.get("ddp_find_unused_parameters") is None:
        said["ddp_find_unused_parameters"] = False  # re-entrant checkpointing and the search exclude each other
    if cfg.training.fp16 and not torch.cuda.is_available():
        raise RunError("fp16: there is no GPU here, and nothing computes in float16 on CPUs; write bf16: true instead")
    if not torch.cuda.is_available():
        said["use_cpu"] = True  # unsaid, transformers refuses bf16 for the want of a GPU
    said["deepspeed"] = deepspeed_config(cfg, context)
    said |= fsdp.arguments(cfg)
    try:
        return TrainingArguments(**{name: value for name, value in said.items() if name in accepted})
    except ValueError as error:  # transformers' own rules; ours have come first, so few are left
        raise RunError(str(error).partition("\n")[0]) from error
