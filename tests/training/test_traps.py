"""What would ruin a run in silence: a loss that is not a number, and batches of which nothing is learned."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, DatasetDict, load_from_disk
from safetensors.torch import load_file
from tests.training.runs import Workspace

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

DIVERGES = {"learning_rate": 1.0e30, "max_grad_norm": 0.0, "warmup_ratio": 0.0}
QUIET = {"logging_steps": 1000, "save_steps": 3, "max_steps": 6}
UNLEARNED = range(8, 16)
"""Rows of the second step."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Data prepared before, of which one step's rows, or all, have no learned token."""
    workspace = Workspace.make(tmp_path_factory.mktemp("traps"), rows=24)
    whole = workspace.folder / "whole"
    workspace.run(workspace.config("whole", {**unlearned("whole", whole), "max_steps": 1}))
    kept = load_from_disk(str(whole))
    mask(kept, UNLEARNED, workspace.folder / "some")
    mask(kept, range(24), workspace.folder / "none")
    return workspace


def unlearned(name: str, folder: Path) -> dict[str, Any]:
    """A run of these rows, in their order."""
    return {"tokenized_path": str(folder), "disable_shuffling": True, "max_steps": 3, "save_strategy": "no"}


def mask(kept: DatasetDict, rows: range, folder: Path) -> None:
    """Keep the data again, without a label in these rows."""
    train = kept["train"].to_list()
    for row in rows:
        train[row]["labels"] = [-100] * len(train[row]["labels"])
    DatasetDict(train=Dataset.from_list(train, features=kept["train"].features)).save_to_disk(str(folder))


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_loss_that_is_not_a_number_names_its_rows(workspace: Workspace, ranks: int) -> None:
    name = f"diverges-{ranks}"
    changes = {**DIVERGES, **QUIET, "disable_shuffling": True, "per_device_train_batch_size": 8 // ranks}
    done = workspace.run(workspace.config(name, changes), ranks=ranks, check=False)
    assert done.returncode == 1
    assert "LossNotFinite" in done.stderr
    told = re.search(r"at step (\d), in a micro batch of row (\d+): '<\|begin_of_text\|>.*Say ", done.stderr)
    assert told is not None
    step, row = map(int, told.groups())
    assert row == 8 * (step - 1), "the first row of that step, as the data has it"
    assert not list(workspace.output(name).glob("checkpoint-*")), "a ruined model was kept"
    assert not (workspace.output(name) / "model.safetensors").exists()


def test_a_last_step_that_ruins_the_weights_is_not_kept(workspace: Workspace) -> None:
    """Its own loss is finite, and nobody computes another one."""
    changes = {**DIVERGES, "learning_rate": 1.0e39, **QUIET, "max_steps": 1, "save_steps": 1}
    done = workspace.run(workspace.config("ruins", changes), check=False)
    assert done.returncode == 1
    assert "step 1 has made weights that are not finite" in done.stderr
    assert not list(workspace.output("ruins").glob("checkpoint-*"))


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_step_of_which_nothing_is_learned_goes_by(workspace: Workspace, ranks: int) -> None:
    changes = {**unlearned("some", workspace.folder / "some"), "per_device_train_batch_size": 8 // ranks}
    workspace.run(workspace.config(f"some-{ranks}", changes), ranks=ranks)
    losses = workspace.losses(f"some-{ranks}")
    assert losses[2] == 0
    assert all(0 < losses[step] < 20 for step in (1, 3))
    assert losses == pytest.approx(workspace.losses("some-1"), abs=1e-5)


def test_nothing_learned_changes_nothing_but_by_weight_decay(workspace: Workspace) -> None:
    changes = unlearned("none", workspace.folder / "none")
    workspace.run(workspace.config("none", changes), workspace.config("decay", {**changes, "weight_decay": 0.1}))
    before, after, decayed = (
        load_file(folder / "model.safetensors")
        for folder in (workspace.folder / "model", workspace.output("none"), workspace.output("decay"))
    )
    assert set(workspace.losses("none").values()) == {0.0}
    assert all(torch.equal(before[name], after[name]) for name in before)
    shrunk = [name for name in before if not torch.equal(before[name], decayed[name])]
    assert shrunk
    for name in shrunk:
        assert float(decayed[name].norm()) < float(before[name].norm())
