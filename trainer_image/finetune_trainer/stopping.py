"""The wish to stop: heard by one rank, agreed on by all at the end of a step, so that all save together.

In the same exchange ranks tell each other how far the checkpoint is that they are writing.

Law: knows a signal, a file, the world and the saver; decides nothing but whether to stop. In a job the supervisor
holds the signals and writes the file `stop`; a run by hand hears SIGTERM and SIGINT itself.
"""

# ruff: noqa: ANN401, ARG002 - transformers calls every callback with the same arguments
from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune_trainer import records
from finetune_trainer.context import RunContext
from finetune_trainer.distributed import World
from finetune_trainer.saving import Saver


class Stopping(TrainerCallback):
    """Ends training at a step's end, with a checkpoint, when any rank was asked to stop."""

    def __init__(self, context: RunContext, world: World, saver: Saver) -> None:
        self._file = context.run_dir / records.STOP_FILE if context.run_dir else None
        self._world = world
        self._saver = saver
        self._asked = False
        self.stopped = False
        """Whether training ended early because of the wish."""

    def listen(self) -> None:
        """Hear SIGTERM and SIGINT from now on; a second SIGINT ends the process at once, as people expect."""
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Agree on the wish; the last step needs no stop.

        Raises:
            RunError: a checkpoint could not be written, on every rank alike.
        """
        wish, *words = self._world.sum(float(self._asked or _exists(self._file)), *self._saver.words())
        if self._saver.hear(*words):
            control.should_save = True
        if wish and state.global_step < state.max_steps:
            self.stopped = True
            control.should_log = control.should_save = control.should_training_stop = True
        return control

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _exists(path: Path | None) -> bool:
    return path is not None and path.exists()
