"""Tokens a second over a whole run, for train_results.json."""

# ruff: noqa: ANN401, ARG002 - transformers calls every callback with the same arguments
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune_trainer.config import TrainConfig


class Throughput(TrainerCallback):
    """Counts what this process trained; steps that an earlier one did are left out, as its time is."""

    def __init__(self, cfg: TrainConfig, *, ranks: int) -> None:
        self._keys = cfg
        self._ranks = ranks
        self._before = 0
        self._after = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """What an earlier process has seen."""
        self._before = state.num_input_tokens_seen

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """What has been seen when it ends."""
        self._after = state.num_input_tokens_seen

    def metrics(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """`told`, and the tokens a second that are asked for: of all ranks, or of each as LLaMA-Factory says."""
        speed = (self._after - self._before) / max(1e-9, float(told["train_runtime"]))
        more = {}
        if self._keys.training.include_tokens_per_second:
            more["train_tokens_per_second"] = round(speed, 3)
        if self._keys.finetuning.include_effective_tokens_per_second:
            more["effective_tokens_per_sec"] = round(speed / self._ranks, 3)
        return {**told, **more}


def with_speeds(trainer: Trainer, told: Mapping[str, Any]) -> dict[str, Any]:
    """`told`, and what the trainer's Throughput adds to it."""
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, Throughput):
            return callback.metrics(told)
    return dict(told)
