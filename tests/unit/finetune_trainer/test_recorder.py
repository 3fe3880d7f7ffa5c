"""The rank's side of the flight recorder: silent, there while it runs, and no trouble where it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune_trainer import recorder
from finetune_trainer.context import Place, RunContext
from finetune_trainer.supervise.recorder import take


def context(run_dir: Path | None) -> RunContext:
    return RunContext(output_dir=Path("/out"), run_dir=run_dir, place=Place(rank=3, local_rank=1))


def test_it_answers_as_long_as_it_runs_and_says_nothing_by_itself(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with recorder.answering(context(tmp_path)):
        (answer,) = take(tmp_path, {0: 2, 1: 3}, gpu=False)
        assert (answer.rank, answer.nccl) == (3, False)
        assert b'"version"' in answer.content
    assert take(tmp_path, {1: 3}, gpu=False) == ()
    shown = capfd.readouterr()
    assert (shown.out, "WorkerServer" in shown.err) == ("", False)


def test_an_error_inside_is_raised_outside(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), recorder.answering(context(tmp_path)):
        _ = 1 / 0
    assert take(tmp_path, {1: 3}, gpu=False) == ()


def test_without_a_run_folder_nobody_asks() -> None:
    with recorder.answering(context(None)):
        pass


def test_a_path_that_no_socket_takes_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with recorder.answering(context(tmp_path / ("x" * 100))):
        pass
    assert "too long for a socket" in capsys.readouterr().err
