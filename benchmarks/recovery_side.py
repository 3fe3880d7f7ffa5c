"""One training in which blocks of steps take turns: none saved, ours, transformers' own; see benchmarks/recovery.py.

    python -m benchmarks.recovery_side <train.yaml> <steps of a block> <figures.json>

A block's checkpoint is made before its first step. Writes the seconds of every block's steps, and of each save.
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

KINDS = ("none", "ours", "theirs")
WARM = 3
"""Steps before the first block."""


class Blocks(TrainerCallback):
    """Says what is saved when, and takes the time."""

    length = 20
    kind = ""
    steps: list[tuple[str, float]] = []  # noqa: RUF012 - transformers makes the object, the program reads it
    saves: list[dict[str, Any]] = []  # noqa: RUF012
    last = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:  # noqa: ANN401, ARG002
        """A step, with whatever came before it since the last one's end."""
        now = time.monotonic()
        if Blocks.kind:
            Blocks.steps.append((Blocks.kind, now - Blocks.last))
        Blocks.last = now
        done = state.global_step - WARM
        if done >= 0 and done % Blocks.length == 0:
            Blocks.kind = KINDS[done // Blocks.length % len(KINDS)]
            control.should_save = Blocks.kind != "none" and state.global_step < state.max_steps
        return control


def watched(save: Any) -> Any:  # noqa: ANN401
    """Ours, or in its block transformers' own, which keeps the last one only, as ours does."""

    def timed(self: Any, model: Any, trial: Any) -> None:  # noqa: ANN401
        folder = Path(self.args.output_dir, f"checkpoint-{self.state.global_step}")
        started = time.monotonic()
        if Blocks.kind == "ours":
            save(self, model, trial)
        else:
            Trainer._save_checkpoint(self, model, trial)
        seconds = time.monotonic() - started
        Blocks.saves.append({"kind": Blocks.kind, "main": seconds})
        if Blocks.kind == "theirs":
            Blocks.saves[-1]["bytes"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            shutil.rmtree(folder)

    return timed


def main() -> None:
    """Train, and write down what it took."""
    path, Blocks.length = Path(sys.argv[1]), int(sys.argv[2])
    transformers.trainer.DEFAULT_CALLBACKS.append(Blocks)
    GlobalTrainer._save_checkpoint = watched(GlobalTrainer._save_checkpoint)  # type: ignore[method-assign]
    end = Saver._end

    def ended(self: Saver, *args: Any, **keys: Any) -> None:  # noqa: ANN401
        started = time.monotonic()
        end(self, *args, **keys)
        ours = next(save for save in reversed(Blocks.saves) if save["kind"] == "ours")
        ours |= {"commit": time.monotonic() - started, "thread": self.seconds}

    Saver._end = ended  # type: ignore[method-assign]
    cfg = config.load(path)
    train(cfg, context.read(cfg))
    Path(sys.argv[3]).write_text(json.dumps({"steps": Blocks.steps, "saves": Blocks.saves}), encoding="utf-8")


if __name__ == "__main__":
    main()
