"""The reporter: one voice for a run, told by train.py which phase it is in and by transformers which step."""

# ruff: noqa: ANN401, ARG002 - transformers calls every callback with the same arguments
from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune_trainer import atomic, records
from finetune_trainer.context import RunContext
from finetune_trainer.distributed import World
from finetune_trainer.progress import saved, screen
from finetune_trainer.progress.saved import Saved
from finetune_trainer.progress.speed import Moment, Speed
from finetune_trainer.progress.utilisation import Utilisation
from finetune_trainer.records import Heartbeat, Phase, Progress


class Reporter(TrainerCallback):
    """Heartbeats of every rank, progress.json of rank 0, and the screen."""

    def __init__(self, context: RunContext, world: World, *, bar: bool = True) -> None:
        self._run_dir = context.run_dir
        self._context = context
        self._world = world
        self._screen = screen.of_rank(is_first=world.is_first, plain=context.is_job or not bar)
        self._speed = Speed(total_steps=0)
        self._phase: Phase = "starting"
        self._step = 0
        self._epoch = 0.0
        self._loss: float | None = None
        self._learning_rate: float | None = None
        self._told: list[str] = []
        self._saved: Saved | None = None
        self._utilisation: Utilisation | None = None
        self._peak_memory: Callable[[], int | None] = lambda: None
        self._rows: dict[str, int] = {}

    @property
    def speed(self) -> Speed:
        """The run's speed so far."""
        return self._speed

    def say(self, text: str) -> None:
        """One line for people, from rank 0."""
        self._screen.say(text)

    def phase(self, phase: Phase) -> None:
        """The run enters a phase."""
        self._phase = phase
        self.beat()
        self._write_progress()

    def checkpoint(self, step: int) -> None:
        """The checkpoint of a step is complete."""
        self._saved = saved.at(self._context.output_dir, step)
        self._write_progress()

    def counted(self, *, read: int, dropped: int, truncated: int, changed: int) -> None:
        """What became of the rows to train on."""
        self._rows = {"rows": read, "rows_dropped": dropped, "rows_truncated": truncated, "rows_changed": changed}
        self._write_progress()

    def measure(self, utilisation: Utilisation | None, peak_memory: Callable[[], int | None]) -> None:
        """What is told of the hardware from now on.

        Args:
            utilisation: by what the speed is measured; None: it is not known.
            peak_memory: bytes of the fullest rank, as of the last log.
        """
        self._utilisation, self._peak_memory = utilisation, peak_memory

    def beat(self) -> None:
        """This rank is alive."""
        if self._run_dir is not None:
            name = records.HEARTBEAT_FILE.format(local_rank=self._context.place.local_rank)
            beat = Heartbeat(time=time.time(), phase=self._phase, step=self._step)
            atomic.write_fleeting(self._run_dir / name, beat.to_json())

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Training starts, at step 0 or where the checkpoint left off."""
        self._step = state.global_step
        self._saved = saved.at(self._context.output_dir, state.global_step) if state.global_step else None
        self._speed = Speed(total_steps=state.max_steps)
        self._speed.begin(_moment(state))
        self.phase("training")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """A step has ended; the last one is always logged, so that the final loss is known."""
        self._phase = "training"
        self._step = state.global_step
        self._epoch = state.epoch or 0.0
        self._speed.add(_moment(state))
        self.beat()
        self._write_progress()
        self._screen.step(self._progress(), self._told)
        if state.global_step >= state.max_steps:
            control.should_log = True
        self._expect_save(control)
        return control

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """An epoch has ended; perhaps a checkpoint is next."""
        self._expect_save(control)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The evaluation is over; perhaps a checkpoint is next."""
        self._expect_save(control)

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A micro batch has ended: a long step is not a hang."""
        self.beat()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Fresh figures."""
        logs = logs or {}
        if "loss" in logs:
            self._loss = float(logs["loss"])
            self._learning_rate = float(logs["learning_rate"])
            self._told = screen.telling(logs)
            self._write_progress()
            self._screen.logged(self._progress(), self._told)
        for name, value in logs.items():
            if name.startswith("eval_") and name.endswith("_loss"):  # one for each data set, if so asked
                self.say(f"eval  step {state.global_step}  {name} {value:.4f}")

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A batch was evaluated."""
        self._phase = "evaluating"
        self.beat()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """A checkpoint is taken; perhaps it is still being written."""
        self.phase("training")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Training has ended."""
        self._screen.close()

    def _expect_save(self, control: TrainerControl) -> None:
        """A checkpoint may take far longer than a step."""
        if control.should_save and not control.should_evaluate:
            self.phase("saving")

    def _progress(self) -> Progress:
        training = self._phase not in ("starting", "data", "model")
        speed = self._speed.tokens_per_second if training else None
        return Progress(
            time=time.time(),
            phase=self._phase,
            step=self._step,
            total_steps=self._speed.total_steps,
            epoch=self._epoch,
            loss=self._loss,
            learning_rate=self._learning_rate,
            tokens_per_second=speed,
            tokens_per_second_per_gpu=None if speed is None else speed / self._world.size,
            mfu=self._utilisation.at(self._speed) if training and self._utilisation else None,
            peak_memory=self._peak_memory(),
            remaining_seconds=self._speed.remaining_seconds if training else None,
            checkpoint_step=self._saved.step if self._saved else None,
            checkpoint_path=self._saved.path if self._saved else None,
            checkpoint_time=self._saved.time if self._saved else None,
            **self._rows,
        )

    def _write_progress(self) -> None:
        if self._run_dir is not None and self._world.is_first:
            atomic.write_fleeting(self._run_dir / records.PROGRESS_FILE, self._progress().to_json())


def _moment(state: TrainerState) -> Moment:
    return Moment(step=state.global_step, seconds=time.monotonic(), tokens=state.num_input_tokens_seen)
