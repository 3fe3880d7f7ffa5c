"""The second stack, transformers 4.53.2: the same training as on the current one, and models that bring their code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from dev import legacy
from tests.tiny_model import make_remote_model, make_rows, write_dataset
from tests.training.runs import Workspace

pytestmark = [pytest.mark.train, pytest.mark.timeout(900)]

STEPS = {"max_steps": 12, "save_steps": 6}
LORA = {**STEPS, "finetuning_type": "lora", "lora_rank": 4, "learning_rate": 1.0e-2}
PACKED = {**STEPS, "neat_packing": True, "per_device_train_batch_size": 2}
PRETRAINED = {**STEPS, "stage": "pt", "cutoff_len": 64}
RUNS: dict[str, dict[str, Any]] = {"full": STEPS, "lora": LORA, "packed": PACKED, "pt": PRETRAINED}
TRUSTED = {**STEPS, "trust_remote_code": True}


def readable_before(model: Path) -> None:
    """transformers 5 saves a tokenizer under a class that 4.53 does not know; older models have the old."""
    path = model / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**settings, "tokenizer_class": "PreTrainedTokenizerFast"}), encoding="utf-8")


@pytest.fixture(scope="module")
def python() -> Path:
    """The second stack's Python; a few packages are installed where it is not there yet."""
    return legacy.environment()


@pytest.fixture(scope="module")
def without_trl(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The image `legacy` has no trl: here, importing it ends the run."""
    folder = tmp_path_factory.mktemp("no-trl")
    (folder / "trl").mkdir()
    (folder / "trl" / "__init__.py").write_text("raise SystemExit('trl is imported')\n")
    parts = [str(folder), *(str(Path(__file__).parents[2] / part) for part in ("operator", "trainer_image", "."))]
    return {"PYTHONPATH": os.pathsep.join(parts)}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, python: Path, without_trl: dict[str, str]) -> Workspace:
    """Each run on both stacks, one process for each stack."""
    made = Workspace.make(tmp_path_factory.mktemp("two-stacks"))
    readable_before(made.folder / "model")
    made.run(*(made.config(f"{name}-current", changes) for name, changes in RUNS.items()))
    old = [made.config(f"{name}-legacy", changes) for name, changes in RUNS.items()]
    made.run(*old, python=python, environment=without_trl)
    return made


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A model that stands in for TeleChat3: its code lies in its folder."""
    folder = tmp_path_factory.mktemp("remote")
    readable_before(make_remote_model(folder / "model"))
    write_dataset(folder / "data", make_rows(150))
    return Workspace(folder=folder)


@pytest.mark.parametrize("name", RUNS)
def test_both_stacks_train_alike(workspace: Workspace, name: str) -> None:
    current, old = workspace.losses(f"{name}-current"), workspace.losses(f"{name}-legacy")
    assert len(current) == 12
    assert old == pytest.approx(current, abs=1e-4)
    assert current[12] < current[1]


def test_a_model_that_brings_its_code_trains_on_both(
    remote: Workspace, python: Path, without_trl: dict[str, str]
) -> None:
    """Also split over two ranks by ZeRO-3: the guiding run of 36B is such a model."""
    split = {**TRUSTED, "deepspeed": "zero3", "per_device_train_batch_size": 4}
    remote.run(remote.config("current", TRUSTED))
    remote.run(remote.config("legacy", TRUSTED), python=python, environment=without_trl)
    remote.run(remote.config("legacy-zero3", split), ranks=2, python=python, environment=without_trl)
    losses = remote.losses("current")
    assert losses[12] < losses[1]
    for other in ("legacy", "legacy-zero3"):
        assert remote.losses(other) == pytest.approx(losses, abs=1e-4)


@pytest.mark.shows("trust_remote_code")
def test_code_of_a_model_runs_only_when_asked_for(remote: Workspace, python: Path) -> None:
    for stack in ({}, {"python": python}):
        done = remote.run(remote.config("untrusted", STEPS), check=False, **stack)
        assert done.returncode == 1
        assert "brings Python code of its own; read it, then say trust_remote_code: true" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_tokenizer_that_only_the_other_stack_reads(
    workspace: Workspace, python: Path, without_trl: dict[str, str]
) -> None:
    path = workspace.config("back", {**STEPS, "model_name_or_path": str(workspace.output("full-current"))})
    done = workspace.run(path, python=python, environment=without_trl, check=False)
    assert done.returncode == 1
    assert "needs another transformers than the 4.53.2 that is here: Tokenizer class" in done.stderr
    assert "Traceback" not in done.stderr
