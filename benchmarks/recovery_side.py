"""One training that saves now our way, now transformers' own; see benchmarks/recovery.py.

    python -m benchmarks.recovery_side <train.yaml> <steps of a window> <figures.json>

A window's checkpoint is made before its first step. Writes the seconds of every window's steps, and of each save.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import transformers
from transformers import Trainer, TrainerCallback

from finetune_trainer import config, context
from finetune_trainer.saving import Saver
from finetune_trainer.stages import GlobalTrainer
from finetune_trainer.train import train

KINDS = ("ours", "theirs")
WARM = 3
"""Steps before the first window."""


class Windows(TrainerCallback):
    """Says what is saved when, and takes the time."""

    length = 0
    steps: list[list[float]] = []  # noqa: RUF012 - transformers makes the object, the program reads it
    saves: list[dict[str, Any]] = []  # noqa: RUF012
    last = 0.0

    @classmethod
    def kind(cls) -> str:
        """Of the window that is open."""
        return KINDS[(len(cls.steps) - 1) % len(KINDS)]

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:  # noqa: ANN401, ARG002
        """A step, with whatever came before it since the last one's end."""
        now = time.monotonic()
        if Windows.steps:
            Windows.steps[-1].append(now - Windows.last)
        Windows.last = now
        done = state.global_step - WARM
        if done >= 0 and done % Windows.length == 0 and state.global_step < state.max_steps:
            Windows.steps.append([])
            control.should_save = True
        return control


def watched(save: Any) -> Any:  # noqa: ANN401
    """Ours, or in its window transformers' own, which keeps the last one only, as ours does."""

    def timed(self: Any, model: Any, trial: Any) -> None:  # noqa: ANN401
        folder = Path(self.args.output_dir, f"checkpoint-{self.state.global_step}")
        started = time.monotonic()
        if Windows.kind() == "ours":
            save(self, model, trial)
        else:
            Trainer._save_checkpoint(self, model, trial)
        seconds = time.monotonic() - started
        Windows.saves.append({"kind": Windows.kind(), "main": seconds})
        if Windows.kind() == "theirs":
            Windows.saves[-1]["bytes"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            shutil.rmtree(folder)

    return timed


def main() -> None:
    """Train, and write down what it took."""
    path, Windows.length = Path(sys.argv[1]), int(sys.argv[2])
    transformers.trainer.DEFAULT_CALLBACKS.append(Windows)
    GlobalTrainer._save_checkpoint = watched(GlobalTrainer._save_checkpoint)  # type: ignore[method-assign]
    end = Saver._end

    def ended(self: Saver, *args: Any, **keys: Any) -> None:  # noqa: ANN401
        started = time.monotonic()
        end(self, *args, **keys)
        ours = next(save for save in reversed(Windows.saves) if save["kind"] == "ours")
        ours |= {"commit": time.monotonic() - started, "thread": self.seconds}

    Saver._end = ended  # type: ignore[method-assign]
    cfg = config.load(path)
    train(cfg, context.read(cfg))
    Path(sys.argv[3]).write_text(json.dumps({"windows": Windows.steps, "saves": Windows.saves}), encoding="utf-8")


if __name__ == "__main__":
    main()
