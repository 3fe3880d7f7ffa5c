"""Evaluation: exact whatever the batch, when it is due, what it tells, and what its best is good for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.training.runs import Workspace
from tests.training.splits import SPLITS

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

EVERY = {"val_size": 11, "eval_strategy": "steps", "eval_steps": 2, "max_steps": 4, "do_eval": True}
BEST = {**EVERY, "save_steps": 2, "max_steps": 6, "load_best_model_at_end": True, "save_total_limit": 1}
PATIENT = {
    **BEST, "metric_for_best_model": "loss", "greater_is_better": True, "early_stopping_steps": 2,
    "max_steps": 10, "save_total_limit": None,
}  # fmt: skip
PT = {"stage": "pt", "packing": False, "val_size": 11, "do_train": False, "do_eval": True}
RUNS: dict[str, dict[str, Any]] = {
    "steps": {**EVERY, "compute_accuracy": True, "save_strategy": "no"},
    "by-one": {**EVERY, "compute_accuracy": True, "save_strategy": "no", "per_device_eval_batch_size": 1},
    "documents": {**PT, "prediction_loss_only": False},
    "loss-only": {**PT, "prediction_loss_only": True},
    "epochs": {"val_size": 11, "eval_strategy": "epoch", "num_train_epochs": 2.0},
    "delayed": {**EVERY, "eval_delay": 3},
    "at-start": {**EVERY, "eval_on_start": True, "max_steps": 1},
    "unasked": {"val_size": 11, "max_steps": 1},
    "each": {"eval_dataset": "words,others", "eval_on_each_dataset": True, "do_eval": True, "max_steps": 1},
    "only": {"do_train": False, "do_eval": True, "val_size": 11, "batch_eval_metrics": True},
    # the loss falls, so a low one is the last evaluation's; taken for bad, it is the first's
    "best": {**BEST, "metric_for_best_model": "eval_loss"},
    "worst": {**BEST, "metric_for_best_model": "loss", "greater_is_better": True},
    "patience": {**BEST, "metric_for_best_model": "loss", "greater_is_better": True, "early_stopping_steps": 1},
    "patient": {**PATIENT},
    "saves-best": {
        **EVERY, "max_steps": 6, "save_strategy": "best", "metric_for_best_model": "loss", "greater_is_better": True,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """All on one rank, in one process."""
    workspace = Workspace.make(tmp_path_factory.mktemp("evaluation"), rows=40)
    info = workspace.folder / "data" / "dataset_info.json"
    info.write_text(json.dumps({name: {"file_name": "words.json"} for name in ("words", "others")}))
    workspace.run(*(workspace.config(name, changes) for name, changes in RUNS.items()))
    return workspace


def results(workspace: Workspace, name: str) -> dict[str, float]:
    """eval_results.json."""
    told: dict[str, float] = json.loads((workspace.output(name) / "eval_results.json").read_text(encoding="utf-8"))
    return told


def evaluated(workspace: Workspace, name: str) -> list[Mapping[str, float]]:
    """What the log holds of evaluations."""
    state = json.loads((workspace.output(name) / "trainer_state.json").read_text(encoding="utf-8"))
    return [entry for entry in state["log_history"] if any(key.startswith("eval_") for key in entry)]


def checkpoints(workspace: Workspace, name: str) -> set[str]:
    """Folders that are left."""
    return {path.name for path in workspace.output(name).glob("checkpoint-*")}


@pytest.mark.shows("do_eval", "per_device_eval_batch_size", "compute_accuracy")
def test_a_loss_does_not_depend_on_the_batch(workspace: Workspace) -> None:
    whole, single = results(workspace, "steps"), results(workspace, "by-one")
    for name in ("eval_loss", "eval_accuracy"):
        assert single[name] == pytest.approx(whole[name], abs=1e-6)
    steps = [round(told["eval_steps_per_second"] * told["eval_runtime"]) for told in (whole, single)]
    assert steps == [2, 11]
    assert not (workspace.output("unasked") / "eval_results.json").exists()
    assert "eval_accuracy" not in results(workspace, "only")


def test_nor_on_the_ranks(workspace: Workspace) -> None:
    ranks, differently = SPLITS["ddp"]
    changes = {**RUNS["steps"], **differently, "per_device_eval_batch_size": 3}
    workspace.run(workspace.config("ranks", changes), ranks=ranks)
    for name in ("eval_loss", "eval_accuracy"):
        assert results(workspace, "ranks")[name] == pytest.approx(results(workspace, "steps")[name], abs=1e-6)


@pytest.mark.shows("prediction_loss_only")
def test_nothing_but_the_loss(workspace: Workspace) -> None:
    whole, spare = results(workspace, "documents"), results(workspace, "loss-only")
    assert whole["eval_loss"] == pytest.approx(spare["eval_loss"])
    assert set(whole) - set(spare) == {"eval_perplexity"}


@pytest.mark.shows("eval_strategy", "eval_steps", "eval_delay", "eval_on_start")
def test_when_it_is_due(workspace: Workspace) -> None:
    steps = {
        name: [int(entry["step"]) for entry in evaluated(workspace, name)]
        for name, said in RUNS.items()
        if "do_train" not in said
    }
    assert steps["steps"] == [2, 4, 4], "and once more when all is saved, as do_eval says, which eval_strategy implies"
    assert steps["epochs"] == [4, 8, 8]
    assert steps["delayed"] == [4, 4]
    assert steps["at-start"] == [0, 1, 1]
    assert steps["unasked"] == []


@pytest.mark.shows("eval_on_each_dataset", "eval_dataset")
def test_each_data_set_by_itself(workspace: Workspace) -> None:
    told = results(workspace, "each")
    assert told["eval_words_loss"] == pytest.approx(told["eval_others_loss"])
    assert "eval_loss" not in told


@pytest.mark.shows("do_train", "batch_eval_metrics")
def test_nothing_is_trained(workspace: Workspace) -> None:
    left = {path.name for path in workspace.output("only").iterdir()}
    assert "eval_results.json" in left
    assert not left & {"model.safetensors", "train_results.json", "README.md", "trainer_state.json"}
    assert results(workspace, "only")["eval_loss"] == pytest.approx(evaluated(workspace, "at-start")[0]["eval_loss"])


@pytest.mark.shows("load_best_model_at_end", "metric_for_best_model")
def test_the_best_is_kept_and_is_what_is_saved(workspace: Workspace) -> None:
    assert evaluated(workspace, "best")[0]["eval_loss"] > evaluated(workspace, "best")[2]["eval_loss"], "it falls"
    for name, best, left in (("best", 6, {"checkpoint-6"}), ("worst", 2, {"checkpoint-2", "checkpoint-6"})):
        assert checkpoints(workspace, name) == left
        saved = load_file(workspace.output(name) / "model.safetensors")
        kept = load_file(workspace.output(name) / f"checkpoint-{best}" / "model.safetensors")
        assert all(torch.equal(saved[key], kept[key]) for key in kept)
        assert results(workspace, name)["eval_loss"] == pytest.approx(
            next(entry["eval_loss"] for entry in evaluated(workspace, name) if entry["step"] == best)
        )


@pytest.mark.shows("early_stopping_steps")
def test_a_run_that_gets_no_better_ends(workspace: Workspace) -> None:
    assert max(workspace.losses("worst")) == 6
    assert max(workspace.losses("patience")) == 4


def test_patience_is_remembered_when_a_run_goes_on(workspace: Workspace) -> None:
    """Evaluations at 4 and 6 are worse than the one at 2; forgetful, the resumed run would end at 8."""
    assert max(workspace.losses("patient")) == 6
    workspace.leave_checkpoint("patient-resumed", of="patient", step=4)
    workspace.run(workspace.config("patient-resumed", PATIENT))
    assert sorted(workspace.losses("patient-resumed")) == [5, 6]


@pytest.mark.shows("save_strategy")
def test_only_the_best_is_saved(workspace: Workspace) -> None:
    assert checkpoints(workspace, "saves-best") == {"checkpoint-2"}
    assert checkpoints(workspace, "steps") == set()


def test_a_metric_that_nobody_tells_is_named(workspace: Workspace) -> None:
    changes = {**EVERY, "save_strategy": "best", "metric_for_best_model": "eval_acuracy", "compute_accuracy": True}
    done = workspace.run(workspace.config("no-metric", changes), check=False)
    assert done.returncode == 1
    assert "metric_for_best_model: evaluation tells no eval_acuracy; it tells eval_loss, eval_accuracy" in done.stderr
    assert "Traceback" not in done.stderr
