"""trainer_log.jsonl: a line per logged step, with LLaMA-Factory's keys; losses unrounded."""

# ruff: noqa: ANN401, ARG002 - transformers calls every callback with the same arguments
from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune_trainer import atomic
from finetune_trainer.progress import Reporter

NAME = "trainer_log.jsonl"


class TrainerLog(TrainerCallback):
    """Writes the log on rank 0. A resumed run keeps the lines up to its checkpoint and goes on after them."""

    def __init__(self, output_dir: Path, reporter: Reporter) -> None:
        self._path = output_dir / NAME
        self._reporter = reporter

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Drop what an earlier run wrote after the step at which this one begins."""
        if state.is_world_process_zero and self._path.exists():
            kept = upto(self._path.read_text(encoding="utf-8").splitlines(), state.global_step)
            atomic.write(self._path, "".join(f"{line}\n" for line in kept))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add a line for each training, evaluation or prediction loss, and for PPO's rewards."""
        told = _told(logs or {})
        if state.is_world_process_zero and told:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(self._line(state, told, logs or {})) + "\n")

    def _line(self, state: TrainerState, told: dict[str, Any], logs: dict[str, Any]) -> dict[str, Any]:
        speed = self._reporter.speed
        remaining, throughput = speed.remaining_seconds, speed.tokens_per_second
        line = {
            "current_steps": state.global_step,
            "total_steps": state.max_steps,
            **told,
            "accuracy": logs.get("rewards/accuracies", logs.get("accuracy")),
            "lr": logs.get("learning_rate"),
            "grad_norm": logs.get("grad_norm"),
            "epoch": state.epoch,
            "percentage": round(100 * state.global_step / max(1, state.max_steps), 2),
            "elapsed_time": str(datetime.timedelta(seconds=round(speed.elapsed))),
            "remaining_time": None if remaining is None else str(datetime.timedelta(seconds=remaining)),
            "throughput": None if throughput is None else round(throughput, 2),
            "total_tokens": state.num_input_tokens_seen,
            **(vram() if os.environ.get("RECORD_VRAM", "").lower() in ("true", "y", "1") else {}),
        }
        return {name: value for name, value in line.items() if value is not None}


def vram() -> dict[str, float]:
    """Most GPU memory so far of this rank, in GiB; without a GPU nothing, where LLaMA-Factory writes zeros."""
    import torch

    if not torch.cuda.is_available():
        return {}
    used, held = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    return {"vram_allocated": round(used / 2**30, 2), "vram_reserved": round(held / 2**30, 2)}


def _told(logs: dict[str, Any]) -> dict[str, Any]:
    """Losses, one for each data set that is evaluated by itself, and the mean reward."""
    return {
        name: value
        for name, value in logs.items()
        if name in ("loss", "predict_loss", "reward") or (name.startswith("eval_") and name.endswith("_loss"))
    }


def upto(lines: Iterable[str], step: int) -> list[str]:
    """The lines of steps up to one; a last line that a killed process left half written goes too."""
    return [line for line in lines if _step(line) <= step]


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["current_steps"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
