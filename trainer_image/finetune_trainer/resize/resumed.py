"""After a checkpoint of other ranks is loaded and before the first step: what loading has left wrong is mended."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune_trainer.resize.plan import Resize
from finetune_trainer.resize.universal import MARK


class Resumed(TrainerCallback):
    """Mends DeepSpeed's optimiser, and gives random numbers to ranks that have no state in the checkpoint."""

    def __init__(self, resize: Resize, trainer: transformers.Trainer) -> None:
        self._resize = resize
        self._trainer = trainer

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,  # noqa: ARG002 - transformers passes it
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # noqa: ANN401, ARG002
    ) -> None:
        """Before the first step. A rank whose random numbers are in the checkpoint gets them back after this."""
        if self._resize.was != self._resize.now:
            transformers.set_seed(drawn_anew(args.seed, self._resize.step))
        if self._resize.universal:
            engine: Any = self._trainer.model_wrapped
            engine._config.load_universal_checkpoint = False  # what this run saves is not universal
            mend(_innermost(engine.optimizer), saved_groups(self._resize.path))


def drawn_anew(seed: int, step: int) -> int:
    """A seed for ranks that were not there before: alike on all of them, as at a run's begin, and known beforehand."""
    return int.from_bytes(hashlib.sha256(f"{seed} {step}".encode()).digest()[:4])


def saved_groups(checkpoint: Path) -> list[dict[str, Any]]:
    """The optimiser's groups of weights as they were saved, by their settings."""
    tag = (checkpoint / MARK).read_text(encoding="utf-8").strip()
    path = checkpoint / tag / "zero" / "optimizer_state.pt"
    groups: list[dict[str, Any]] = torch.load(path, map_location="cpu", weights_only=False)["param_groups"]
    return groups


def mend(optimizer: torch.optim.Optimizer, groups: list[dict[str, Any]]) -> None:
    """Give each group its own settings back, and each weight its own count of steps.

    DeepSpeed 0.19 loads ZeRO-3 with the first group's settings in all groups (weight decay for norms, one learning
    rate for LoRA+), and one tensor as everybody's count of steps, which each of them counts up.
    """
    for group, saved in zip(optimizer.param_groups, groups, strict=True):
        group.update({name: value for name, value in saved.items() if name != "params"})
    for state in optimizer.state.values():
        if isinstance(state.get("step"), torch.Tensor):
            state["step"] = state["step"].clone()


def _innermost(optimizer: Any) -> torch.optim.Optimizer:  # noqa: ANN401 - DeepSpeed's wrappers, one in another
    while not isinstance(optimizer, torch.optim.Optimizer) or hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer
