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
TELECHAT = str(ROOT / "examples" / "telechat3-36b.yaml")
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


def test_a_well_known_model_needs_no_description(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(TRAIN.format(model="Qwen/Qwen3-8B"))
    assert main(["estimate", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 8_190_735_360
    path.write_text(TRAIN.format(model="somebody/Qwen3-8B"))
    assert main(["estimate", str(path)]) != 0
    assert "is no folder here, nor known by name; give the model's description" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("on", "taken", "turns"),
    [
        (("4", "80Gi"), "fits: 62.2 GiB of 80.0 GiB", "the longest cutoff_len that fits is 11,776"),
        (("4", "8Gi"), "DOES NOT FIT: 62.2 GiB of 8.0 GiB", "no cutoff_len would"),
        (("1", "80Gi"), "DOES NOT FIT: 113.0 GiB of 80.0 GiB", "the longest cutoff_len that fits is 1,472"),
    ],
    ids=["32 GPUs of 80 GB", "32 GPUs of 8 GB", "8 GPUs of 80 GB"],
)
def test_the_36b_example_fits_on_32_gpus_of_80_gb_alone(
    seed: str, capsys: pytest.CaptureFixture[str], on: tuple[str, str], taken: str, turns: str
) -> None:
    arguments = ["estimate", TELECHAT, "--nodes", on[0], "--gpu-memory", on[1], "--model-config", seed]
    assert main(arguments) == (0 if taken.startswith("fits") else 1)
    assert f"{taken}, with gradient checkpointing; {turns}" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("length", "code"), [(11776, 0), (11776 + 64, 1)])
def test_the_36b_example_turns_at_the_length_that_it_is_told(
    seed: str, tmp_path: Path, length: int, code: int
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(Path(TELECHAT).read_text().replace("cutoff_len: 8192", f"cutoff_len: {length}"))
    assert main(["estimate", str(file), "--gpu-memory", "80Gi", "--model-config", seed]) == code


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
