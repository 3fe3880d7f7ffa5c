"""torch.profiler over some steps: traces for TensorBoard, Perfetto and chrome://tracing, a folder for each rank."""

# ruff: noqa: ANN401, ARG002 - transformers calls every callback with the same arguments
from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import profiler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune_trainer.config import TrainConfig


class StepProfiler(TrainerCallback):
    """LLaMA-Factory's enable_torch_profiler: wait, warm up, record, as often as profiler_repeat says."""

    def __init__(self, cfg: TrainConfig, folder: Path) -> None:
        self._keys = cfg.training
        self._folder = folder
        self._profiler: profiler.profile | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start to count steps."""
        keys = self._keys
        activities = [profiler.ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(profiler.ProfilerActivity.CUDA)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._profiler = profiler.profile(
            activities=activities,
            schedule=profiler.schedule(
                wait=keys.profiler_wait_steps,
                warmup=keys.profiler_warmup_steps,
                active=keys.profiler_active_steps,
                repeat=keys.profiler_repeat,
            ),
            on_trace_ready=profiler.tensorboard_trace_handler(str(self._folder)),
            record_shapes=keys.profiler_record_shapes,
            profile_memory=keys.profiler_profile_memory,
            with_stack=keys.profiler_with_stack,
        )
        self._profiler.start()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A step has ended; a trace is written when its cycle is complete."""
        if self._profiler is not None:
            self._profiler.step()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write what a cut cycle recorded."""
        if self._profiler is not None:
            self._profiler.stop()
            self._profiler = None
