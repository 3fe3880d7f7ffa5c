"""The program `finetune` as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.tiny_model import make_tiny_model

from finetune_trainer import records
from finetune_trainer.records import Outcome

WITHOUT_OPERATOR = "import sys; sys.modules['finetune_operator'] = None\n"
MAIN = "import sys; from finetune_trainer.cli import main\nsys.exit(main())"
CONFIG = """\
model_name_or_path: {folder}/no-such-model
stage: sft
do_train: true
finetuning_type: lora
template: chatml
dataset: nothing
dataset_dir: {folder}
output_dir: {folder}/output
use_cpu: true
"""


def finetune(*arguments: str, code: str = MAIN, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | paths | environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_help_lists_all_verbs_and_imports_nothing_heavy() -> None:
    code = """
import atexit, sys
atexit.register(lambda: print("heavy:", sorted({"torch", "transformers", "kopf", "kubernetes"} & set(sys.modules))))
"""
    done = finetune("--help", code=code + MAIN)
    assert done.returncode == 0
    assert "heavy: []" in done.stdout
    assert all(f"    {verb}" in done.stdout for verb in ("train", "chat", "supervise", "version", "run", "render"))


def test_without_the_operators_package_its_verbs_are_explained() -> None:
    done = finetune("render", "job.yaml", code=WITHOUT_OPERATOR + MAIN)
    assert done.returncode == 2
    assert "pip install 'finetune-operator[operator]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_operators_package_training_is_still_there() -> None:
    done = finetune("--help", code=WITHOUT_OPERATOR + MAIN)
    assert done.returncode == 0
    assert "train" in done.stdout
    assert "render" not in done.stdout


def test_without_torch_training_is_explained(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text(CONFIG.format(folder=tmp_path))
    without_torch = WITHOUT_OPERATOR.replace("finetune_operator", "torch")
    done = finetune("train", str(tmp_path / "train.yaml"), code=without_torch + MAIN)
    assert done.returncode == 2
    assert "finetune train: torch is not installed here: pip install 'finetune-operator[trainer]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_version_names_what_trains() -> None:
    done = finetune("version")
    assert done.returncode == 0
    assert dict(line.split(maxsplit=1) for line in done.stdout.splitlines())["contract"] == "1"


def test_every_wrong_key_is_told_at_its_line(tmp_path: Path) -> None:
    config = tmp_path / "train.yaml"
    config.write_text(CONFIG.format(folder=tmp_path) + "learning_rat: 1e-5\nlora_rank: many\n")
    done = finetune("train", str(config))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert f"{config}:10: learning_rat" in lines[0]
    assert f"{config}:11: lora_rank" in lines[1]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = finetune("train", str(tmp_path / "train.yaml"))
    assert done.returncode == 2
    assert str(tmp_path / "train.yaml") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_launcher_variable_that_is_no_number(tmp_path: Path) -> None:
    config = tmp_path / "train.yaml"
    config.write_text(CONFIG.format(folder=tmp_path))
    done = finetune("train", str(config), NPROC_PER_NODE="all")
    assert (done.returncode, done.stderr) == (2, "NPROC_PER_NODE is 'all': write a number\n")


@pytest.mark.train
def test_two_processes_by_hand_are_one_world(tmp_path: Path) -> None:
    config = tmp_path / "train file.yaml"
    config.write_text(CONFIG.format(folder=tmp_path))
    done = finetune("train", str(config), NPROC_PER_NODE="2")
    assert done.returncode == 1
    assert "ModelNotFound (rank 0 of 2)" in done.stderr


@pytest.mark.train
def test_a_pod_tells_why_its_ranks_gave_up(tmp_path: Path) -> None:
    """`finetune supervise` over the real launcher and the real rank, to the outcome."""
    config = tmp_path / "config"
    config.mkdir()
    (config / "train.yaml").write_text(CONFIG.format(folder=tmp_path))
    run = records.RunSpec(
        contract=records.CONTRACT_VERSION,
        namespace="team",
        job="demo",
        uid="u-1",
        spec_hash="abc",
        nodes=1,
        processes_per_node=1,
        launcher="torchrun",
        output_dir=str(tmp_path / "output"),
        overwrite_output_dir=False,
        hang_timeout_seconds=600,
        grace_seconds=60,
    )
    (config / "run.json").write_text(run.to_json())
    done = finetune(
        "supervise",
        **{
            records.ENV_CONFIG_DIR: str(config),
            records.ENV_RUN_DIR: str(tmp_path / "run"),
            records.ENV_TERMINATION_LOG: str(tmp_path / "termination"),
            "PET_NNODES": "1",
            "PET_NPROC_PER_NODE": "1",
        },
    )
    assert done.returncode == 1, done.stderr
    told = Outcome.from_json((tmp_path / "termination").read_text())
    assert (told.result, told.reason, told.rank, told.retryable) == ("failed", "ModelNotFound", 0, False)
    assert "no-such-model" in told.message
    assert json.loads((tmp_path / "output/.finetune/outcome-1-0.json").read_text())["reason"] == "ModelNotFound"


def test_chat_by_llamafactorys_yaml(tmp_path: Path) -> None:
    make_tiny_model(tmp_path / "model")
    asked = tmp_path / "chat.yaml"
    asked.write_text(f"model_name_or_path: {tmp_path / 'model'}\ntemplate: llama3\ninfer_backend: huggingface\n")
    done = finetune("chat", str(asked), "--prompt", "Hello", "--max-new-tokens", "3")
    assert done.returncode == 0, done.stderr
    assert 1 <= len(done.stdout.strip()) < 60
    asked.write_text(asked.read_text() + "quantization_bit: 4\n")
    done = finetune("chat", str(asked), "--prompt", "Hello")
    assert done.returncode == 2
    assert "quantization_bit: finetune chat does not look at that; leave it out" in done.stderr
    assert "Traceback" not in done.stderr
