"""Preference training: the same steps in every split and for every loss, and margins that rise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.tiny_model import make_tiny_model
from tests.training import preference_rows
from tests.training.runs import ROWS, Workspace
from tests.training.splits import SPLITS, assert_falls, assert_same, train_split

pytestmark = [pytest.mark.train, pytest.mark.timeout(900)]

COMMON: dict[str, Any] = {"stage": "dpo", "learning_rate": 1.0e-3, "max_steps": 22}
SPLIT_FURTHER: dict[str, dict[str, Any]] = {
    "sigmoid": COMMON,
    "lora": {**COMMON, "finetuning_type": "lora", "lora_rank": 8, "learning_rate": 5.0e-3},
    "mixed": {**COMMON, "pref_loss": "kto_pair", "pref_ftx": 0.5, "pref_bco_weight": 0.5, "ld_alpha": 0.5},
}
"""`mixed` has all that looks at the whole global batch: kto_pair's levels and BCO's running mean."""
LOSSES: dict[str, dict[str, Any]] = {
    "hinge": {**COMMON, "pref_loss": "hinge"},
    "ipo": {**COMMON, "pref_loss": "ipo"},
    "kto_pair": {**COMMON, "pref_loss": "kto_pair"},
    "orpo": {**COMMON, "pref_loss": "orpo"},
    "simpo": {**COMMON, "pref_loss": "simpo", "pref_beta": 2.0},
}
METHODS = {**SPLIT_FURTHER, **{name: {**said, "save_strategy": "no"} for name, said in LOSSES.items()}}
RANKS = [
    ("sigmoid", "ddp"),
    pytest.param("sigmoid", "zero2", marks=pytest.mark.slow),
    ("sigmoid", "zero3"),
    pytest.param("lora", "ddp", marks=pytest.mark.slow),
    ("lora", "zero3"),  # an adapter switched off inside what splits the model
    ("mixed", "ddp"),
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Every method whole and accumulated, one after the other; then three of them resumed."""
    folder = tmp_path_factory.mktemp("dpo")
    make_tiny_model(folder / "model")
    preference_rows.write(folder / "data", preference_rows.pairs(ROWS))
    workspace = Workspace(folder=folder)
    accumulated = {**SPLITS["1x8"][1], "save_strategy": "no"}
    whole = [workspace.config(f"{name}-8x1", {**said, **evaluated(name)}) for name, said in METHODS.items()]
    workspace.run(*whole, *[workspace.config(f"{name}-1x8", {**METHODS[name], **accumulated}) for name in METHODS])
    for name in SPLIT_FURTHER:
        workspace.leave_checkpoint(f"{name}-resumed", of=f"{name}-8x1", step=10)
    workspace.run(*[workspace.config(f"{name}-resumed", said) for name, said in SPLIT_FURTHER.items()])
    return workspace


def evaluated(name: str) -> dict[str, Any]:
    """One run evaluates between its steps, which must change none of them."""
    return {"eval_dataset": "words", "eval_strategy": "steps", "eval_steps": 11} if name == "mixed" else {}


def history(workspace: Workspace, name: str, key: str) -> list[float]:
    """What a run has told of its pairs."""
    state = json.loads((workspace.output(name) / "trainer_state.json").read_text(encoding="utf-8"))
    return [entry[key] for entry in state["log_history"] if key in entry]


@pytest.mark.parametrize("method", METHODS)
def test_accumulated_batches_are_the_same_training(workspace: Workspace, method: str) -> None:
    assert_same(workspace, method, "1x8")


@pytest.mark.parametrize("method", SPLIT_FURTHER)
def test_a_resumed_run_is_the_same_training(workspace: Workspace, method: str) -> None:
    assert_same(workspace, method, "resumed")


@pytest.mark.parametrize(("method", "split"), RANKS)
def test_two_ranks_are_the_same_training(workspace: Workspace, method: str, split: str) -> None:
    train_split(workspace, method, split, {**METHODS[method], "save_strategy": "no"})
    assert_same(workspace, method, split)


@pytest.mark.shows("pref_loss")
@pytest.mark.parametrize("method", [method for method in METHODS if method != "mixed"])
def test_chosen_answers_win(workspace: Workspace, method: str) -> None:
    """What every method is for; the first step, before any learning, tells the losses apart."""
    first = {"sigmoid": 0.6931, "lora": 0.6931, "hinge": 1.0, "ipo": 25.0, "kto_pair": 0.5}
    if method in first:
        assert workspace.losses(f"{method}-8x1")[1] == pytest.approx(first[method], abs=1e-4)
    margins = history(workspace, f"{method}-8x1", "rewards/margins")
    assert sum(margins[-5:]) > sum(margins[:5])
    assert sum(history(workspace, f"{method}-8x1", "rewards/accuracies")[-5:]) / 5 > 0.8


@pytest.mark.parametrize("method", ["sigmoid", "lora", "hinge", "ipo", "orpo", "simpo"])
def test_the_loss_falls(workspace: Workspace, method: str) -> None:
    assert_falls(workspace, method)


def test_evaluation_tells_of_pairs(workspace: Workspace) -> None:
    """In `mixed` ld_alpha makes single batches' margins jump; over all rows they rise."""
    first, *_, last = history(workspace, "mixed-8x1", "eval_rewards/margins")
    assert last > first
    losses = history(workspace, "mixed-8x1", "eval_loss")
    assert losses[-1] < losses[0]
