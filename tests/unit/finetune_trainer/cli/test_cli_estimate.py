"""`finetune estimate`, for a train.yaml and for a job."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.finetune_trainer.sizing.configs import LLAMA_7B, SEED_36B

from finetune_trainer.cli import main

ROOT = Path(__file__).parents[4]
TELECHAT = str(ROOT / "examples" / "telechat3-36b-sft.yaml")
TRAIN = """\
model_name_or_path: {model}
stage: sft
finetuning_type: full
dataset: rows
template: llama3
cutoff_len: 2048
per_device_train_batch_size: 2
bf16: true
output_dir: saved
"""


@pytest.fixture
def seed(tmp_path: Path) -> str:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(SEED_36B))
    return str(path)


@pytest.fixture
def train(tmp_path: Path) -> str:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(LLAMA_7B))
    path = tmp_path / "train.yaml"
    path.write_text(TRAIN.format(model=model))
    return str(path)


def test_a_job_says_nodes_and_gpus_itself(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["estimate", TELECHAT, "--gpu-memory", "80Gi", "--model-config", seed, "--json", "--rows", "1000"]) == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert (said["nodes"], said["processes_per_node"], said["fits"]) == (4, 8, True)
    assert said["parameters"] == 36_151_104_512
    assert said["turning_length"] > 8192
    assert said["course"]["steps"] == 24
    assert said["total"] == max(parts["total"] for parts in said["moments"].values())


def test_what_does_not_fit_ends_with_1_and_says_what_would(train: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", train, "--gpu-memory", "80Gi", "--gpus", "8"]) == 1
    shown = capsys.readouterr().out
    assert "DOES NOT FIT" in shown
    assert "  deepspeed: zero2\n" in shown


def test_where_nothing_fits_that_is_said(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", TELECHAT, "--gpu-memory", "8Gi", "--model-config", seed]) == 1
    assert "nothing fits at this cutoff_len" in capsys.readouterr().out


def test_without_the_gpus_memory_there_is_no_verdict(train: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", train]) == 0
    shown = capsys.readouterr().out
    assert "llama, 6.74 B parameters, 6.74 B trained; 1 node x 1 GPU" in shown
    assert "say --gpu-memory 80Gi" in shown


def test_a_model_that_is_not_here_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", TELECHAT]) == 2
    assert "--model-config config.json" in capsys.readouterr().err


def test_a_wrong_key_is_told_with_its_line(train: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(train).write_text(Path(train).read_text().replace("cutoff_len", "cutof_len"))
    assert main(["estimate", train]) == 2
    assert "cutoff_len" in capsys.readouterr().err


def test_no_torch_is_imported(train: str) -> None:
    script = (
        "import sys\nfrom finetune_trainer.cli import main\n"
        f"main(['estimate', {train!r}, '--gpu-memory', '80Gi'])\n"
        "print('heavy:', sorted({'torch', 'transformers', 'kopf'} & set(sys.modules)))"
    )
    path = f"{ROOT / 'operator'}:{ROOT / 'trainer_image'}"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.endswith("heavy: []\n")
