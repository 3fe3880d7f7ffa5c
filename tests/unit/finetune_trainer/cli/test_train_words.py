"""`finetune train` through the program's own parser: flags that argparse does not know, and its help."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune_trainer.cli import main


def test_flags_reach_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["train", "--stage", "sft", "--hub", "x", "--do_train", "--learning-rate", "fast", "--max_steps", "-1"])
        == 2
    )
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("command line: --hub: unknown key")
    assert lines[1] == "command line: --learning-rate: expected a number, got fast"
    assert [line.split(": ")[1] for line in lines[2:]] == ["--model_name_or_path", "--dataset", "--output_dir"]


def test_words_after_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cfg.yml").write_text("model_name_or_path: a\ndataset: b\noutput_dir: c\n")
    assert main(["train", str(tmp_path / "cfg.yml"), "seed=x", "--bf16=ja"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "command line: seed: expected a whole number, got x",
        "command line: --bf16: expected true or false, got ja",
    ]


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", flag]) == 0
    assert "finetune train config.yaml [key=value ...]" in capsys.readouterr().out


def test_nothing_to_train(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train"])
    assert "WORD" in capsys.readouterr().err
