import os
import signal
import time
from pathlib import Path

from transformers import TrainerControl, TrainerState, TrainingArguments

from finetune_trainer import records
from finetune_trainer.checkpoints import Keeper
from finetune_trainer.context import Place, RunContext
from finetune_trainer.distributed import World
from finetune_trainer.saving import Saver
from finetune_trainer.saving.saver import is_due
from finetune_trainer.stopping import Stopping


def stopping_of(context: RunContext) -> Stopping:
    return Stopping(context, World(), Saver(Keeper(context=context, world=World(), limit=None)))


def end_step(stopping: Stopping, tmp_path: Path, step: int) -> TrainerControl:
    state, args = (
        TrainerState(global_step=step, max_steps=10),
        TrainingArguments(output_dir=str(tmp_path), use_cpu=True),
    )
    return stopping.on_step_end(args, state, TrainerControl())


def test_the_file_ends_training_with_a_checkpoint(tmp_path: Path) -> None:
    stopping = stopping_of(RunContext(output_dir=tmp_path, run_dir=tmp_path, place=Place()))
    assert not end_step(stopping, tmp_path, 3).should_training_stop
    (tmp_path / records.STOP_FILE).touch()
    control = end_step(stopping, tmp_path, 4)
    assert (control.should_save, control.should_training_stop, stopping.stopped) == (True, True, True)


def test_after_the_last_step_there_is_nothing_to_stop(tmp_path: Path) -> None:
    (tmp_path / records.STOP_FILE).touch()
    stopping = stopping_of(RunContext(output_dir=tmp_path, run_dir=tmp_path, place=Place()))
    end_step(stopping, tmp_path, 10)
    assert not stopping.stopped


def test_a_checkpoint_is_due_by_time_as_well(tmp_path: Path) -> None:
    assert [is_due(passed, 60) for passed in (59.0, 60.0)] == [False, True]
    assert not is_due(1e9, 0)
    later = stopping_of(RunContext(output_dir=tmp_path, checkpoint_seconds=3600, place=Place()))
    assert not end_step(later, tmp_path, 4).should_save
    at_once = stopping_of(RunContext(output_dir=tmp_path, checkpoint_seconds=1, place=Place()))
    time.sleep(1.1)
    assert end_step(at_once, tmp_path, 4).should_save


def test_a_signal_is_a_wish_not_an_end(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    stopping = stopping_of(RunContext(output_dir=tmp_path, place=Place()))
    try:
        stopping.listen()
        os.kill(os.getpid(), signal.SIGTERM)
        assert end_step(stopping, tmp_path, 4).should_training_stop
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)
