import os
from pathlib import Path

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from finetune_trainer import records
from finetune_trainer.context import Place, RunContext
from finetune_trainer.distributed import World
from finetune_trainer.progress import Reporter, screen
from finetune_trainer.progress.speed import Moment, Speed
from finetune_trainer.progress.utilisation import Utilisation
from finetune_trainer.records import Heartbeat, Progress
from finetune_trainer.sizing.flops import Work


def test_a_resumed_run_counts_only_its_own_steps() -> None:
    speed = Speed(total_steps=100)
    speed.begin(Moment(step=50, seconds=1000.0, tokens=500_000))
    assert (speed.tokens_per_second, speed.remaining_seconds) == (None, None)
    speed.add(Moment(step=52, seconds=1004.0, tokens=502_000))
    assert speed.tokens_per_second == 500
    assert speed.remaining_seconds == 96
    assert speed.elapsed == 4


def test_the_estimate_follows_a_change_of_speed() -> None:
    speed = Speed(total_steps=1000)
    speed.begin(Moment(step=0, seconds=0.0, tokens=0))
    for step in range(1, 101):
        speed.add(Moment(step=step, seconds=step * 1.0, tokens=step))
    for step in range(101, 201):
        speed.add(Moment(step=step, seconds=100 + (step - 100) * 0.5, tokens=step))
    assert speed.remaining_seconds == 400


def test_figures_say_only_what_is_known() -> None:
    begun = Progress(time=0, phase="training", step=0, total_steps=10)
    assert screen.figures(begun) == []
    under_way = Progress(
        time=0, phase="training", step=4, total_steps=10, loss=1.23456, learning_rate=2e-4, tokens_per_second=12345.6,
        remaining_seconds=3725,
    )  # fmt: skip
    assert screen.figures(under_way) == ["loss 1.2346", "lr 2.00e-04", "12,346 tokens/s", "1:02:05 left"]


def test_what_a_method_tells_stands_beside_the_loss() -> None:
    told = screen.telling({"rewards/accuracies": 0.75, "rewards/margins": 0.1234, "logps/chosen": -9.0, "loss": 1.0})
    assert told == ["accuracy 0.750", "margin 0.123"]
    progress = Progress(time=0, phase="training", step=4, total_steps=10, loss=1.0, learning_rate=2e-4)
    assert screen.figures(progress, told) == ["loss 1.0000", "accuracy 0.750", "margin 0.123", "lr 2.00e-04"]


@pytest.mark.shows("disable_tqdm")
def test_no_bar_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert isinstance(screen.of_rank(is_first=True, plain=False), screen.Bar)
    assert isinstance(screen.of_rank(is_first=True, plain=True), screen.Lines)


def test_rank_0_tells_the_progress_and_every_rank_is_alive(tmp_path: Path) -> None:
    state = TrainerState(max_steps=4)
    control, args = TrainerControl(), TrainingArguments(output_dir=str(tmp_path / "out"), use_cpu=True)
    for rank in (0, 1):
        context = RunContext(output_dir=tmp_path, run_dir=tmp_path, place=Place(rank=rank, local_rank=rank))
        reporter = Reporter(context, World(rank=rank, local_rank=rank))
        reporter.on_train_begin(args, state, control)
        state.global_step, state.num_input_tokens_seen = 1, 800
        reporter.on_step_end(args, state, control)
        reporter.on_log(args, state, control, {"loss": 2.5, "learning_rate": 1e-4})
        assert Heartbeat.from_json((tmp_path / f"heartbeat-{rank}.json").read_text()).step == 1
    progress = Progress.from_json((tmp_path / "progress.json").read_text())
    assert (progress.step, progress.total_steps, progress.loss, progress.percentage) == (1, 4, 2.5, 25)
    assert not list(tmp_path.glob(".*")), "no drafts are left"


def test_what_is_measured_is_told_with_the_progress(tmp_path: Path) -> None:
    context = RunContext(output_dir=tmp_path / "out", run_dir=tmp_path, place=Place())
    reporter, state = Reporter(context, World(size=4)), TrainerState(max_steps=4)
    control, args = TrainerControl(), TrainingArguments(output_dir=str(tmp_path / "out"), use_cpu=True)
    work = Work(products=6e9, attention=0.0)
    reporter.measure(Utilisation(work=work, peak=1e15, rows=8), lambda: 3 << 30)
    reporter.on_train_begin(args, state, control)
    state.global_step, state.num_input_tokens_seen = 1, 800
    reporter.on_step_end(args, state, control)
    told = Progress.from_json((tmp_path / "progress.json").read_text())
    assert told.tokens_per_second is not None
    assert told.tokens_per_second_per_gpu == told.tokens_per_second / 4
    assert told.mfu == pytest.approx(told.tokens_per_second * 6e9 / 1e15)
    assert told.peak_memory == 3 << 30


def test_a_checkpoint_is_told_with_its_place_and_since_when(tmp_path: Path) -> None:
    context = RunContext(output_dir=tmp_path / "out", run_dir=tmp_path, place=Place())
    args = TrainingArguments(output_dir=str(tmp_path / "out"), use_cpu=True)
    mark = tmp_path / "out" / "checkpoint-3" / records.CHECKPOINT_MARK
    mark.parent.mkdir(parents=True)
    mark.touch()
    os.utime(mark, (1.7e9, 1.7e9))

    def told(step: int) -> tuple[int | None, str | None, float | None]:
        """A run that goes on from the checkpoint of a step."""
        reporter = Reporter(context, World())
        reporter.on_train_begin(args, TrainerState(max_steps=9, global_step=step), TrainerControl())
        progress = Progress.from_json((tmp_path / "progress.json").read_text())
        return progress.checkpoint_step, progress.checkpoint_path, progress.checkpoint_time

    assert told(3) == (3, "checkpoint-3", 1.7e9)
    assert told(7) == (7, None, None), "of another output_dir"
    assert told(0) == (None, None, None)


def test_a_checkpoint_is_a_phase_of_its_own(tmp_path: Path) -> None:
    """It may take far longer than a step, and the supervisor must not take that for a hang."""
    context = RunContext(output_dir=tmp_path, run_dir=tmp_path, place=Place())
    reporter, state = Reporter(context, World()), TrainerState(max_steps=4, global_step=1)
    args = TrainingArguments(output_dir=str(tmp_path / "out"), use_cpu=True)

    def phase() -> str:
        return Heartbeat.from_json((tmp_path / "heartbeat-0.json").read_text()).phase

    reporter.on_step_end(args, state, TrainerControl(should_save=True))
    assert phase() == "saving"
    reporter.on_save(args, state, TrainerControl())
    assert phase() == "training"
    both = TrainerControl(should_save=True, should_evaluate=True)
    reporter.on_step_end(args, state, both)
    reporter.on_prediction_step(args, state, both)
    assert phase() == "evaluating"
    reporter.on_evaluate(args, state, TrainerControl(should_save=True))
    assert phase() == "saving"


def test_the_last_step_is_always_logged(tmp_path: Path) -> None:
    reporter = Reporter(RunContext(output_dir=tmp_path, place=Place()), World(rank=1))
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    logged = []
    for step in (1, 2):
        control = TrainerControl()
        reporter.on_step_end(args, TrainerState(max_steps=2, global_step=step), control)
        logged.append(control.should_log)
    assert logged == [False, True]
