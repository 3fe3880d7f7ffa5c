"""KTO: the same steps in every split, also the divergence, and liked and disliked answers that move apart."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.tiny_model import make_tiny_model
from tests.training import preference_rows
from tests.training.runs import Workspace
from tests.training.splits import EVERY_SPLIT, TOLERANCE, assert_falls, assert_same, train_split, train_whole

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

ROWS = 90  # 12 steps in an epoch, the last one of 2 rows
FULL: dict[str, Any] = {"stage": "kto", "learning_rate": 1.0e-3, "disable_gradient_checkpointing": True}
LORA: dict[str, Any] = {
    "stage": "kto",
    "finetuning_type": "lora",
    "lora_rank": 8,
    "learning_rate": 5.0e-3,
    "pref_ftx": 0.5,
    "kto_rejected_weight": 2.0,
}
STEPS = {"num_train_epochs": 1.0, "save_strategy": "no"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A model and verdicts; the runs on one rank, in one process."""
    folder = tmp_path_factory.mktemp("kto")
    make_tiny_model(folder / "model")
    preference_rows.write(folder / "data", preference_rows.verdicts(ROWS))
    preference_rows.write(folder / "liked", preference_rows.verdicts(24, liked=1.0))
    workspace = Workspace(folder=folder)
    train_whole(workspace, "kto", FULL)
    runs = {
        "kto-lora-8x1": LORA,
        "weighed": {**FULL, **STEPS, "kto_chosen_weight": 3.0},
        "weighed-down": {**FULL, **STEPS, "kto_rejected_weight": 0.0},
        "beta": {**FULL, **STEPS, "pref_beta": 0.5},
        "ftx": {**FULL, **STEPS, "pref_ftx": 1.0},
        "one-kind": {
            **FULL,
            **STEPS,
            "dataset_dir": str(folder / "liked"),
            "val_size": 8,
            "eval_strategy": "epoch",
            "per_device_eval_batch_size": 3,
        },
    }
    workspace.run(*(workspace.config(name, changes) for name, changes in runs.items()))
    return workspace


def told(workspace: Workspace, name: str, key: str) -> list[float]:
    """What a run has logged under a key, in order."""
    state = json.loads((workspace.output(name) / "trainer_state.json").read_text(encoding="utf-8"))
    return [entry[key] for entry in state["log_history"] if key in entry]


def test_it_learns(workspace: Workspace) -> None:
    assert_falls(workspace, "kto", to=0.85)
    margins = told(workspace, "kto-8x1", "rewards/margins")
    assert sum(margins[-5:]) / 5 > 1.0 > abs(margins[0])
    state = json.loads((workspace.output("kto-8x1") / "trainer_state.json").read_text(encoding="utf-8"))
    both = [entry for entry in state["log_history"] if "rewards/margins" in entry]
    assert both, "a step with rows of one kind alone has no margin, the others have"
    for entry in both:
        assert entry["rewards/margins"] == pytest.approx(entry["rewards/chosen"] - entry["rewards/rejected"], abs=1e-6)
        assert abs(entry["logits/chosen"]) < 10, "a mean over the vocabulary, of learned tokens"
        assert entry["logits/chosen"] != entry["logits/rejected"]
    logps = told(workspace, "kto-8x1", "logps/rejected")
    assert sum(logps[-5:]) < sum(logps[:5])


@pytest.mark.parametrize("split", EVERY_SPLIT)
def test_every_split_is_the_same_training(workspace: Workspace, split: str) -> None:
    train_split(workspace, "kto", split, FULL)
    assert_same(workspace, "kto", split)
    first = 10 if split == "resumed" else 0
    whole, part = (told(workspace, f"kto-{name}", "kl")[-14:] for name in ("8x1", split))
    assert max(whole) > 0.1
    assert max(abs(one - other) for one, other in zip(whole, part, strict=True)) < 10 * TOLERANCE, first


@pytest.mark.slow  # a minute; dpo's adapter is split in every run of the tests
def test_an_adapter_on_two_ranks_resumed(workspace: Workspace) -> None:
    """With the plain loss on liked answers, whose number differs from rank to rank."""
    train_split(workspace, "kto-lora", "zero3", LORA)
    assert_same(workspace, "kto-lora", "zero3")
    train_split(workspace, "kto-lora", "resumed", LORA)
    assert_same(workspace, "kto-lora", "resumed")


@pytest.mark.shows("stage", "kto_chosen_weight", "kto_rejected_weight")
def test_weights_weigh(workspace: Workspace) -> None:
    """At the first step every answer's loss is its weight times 1/2; the policy is still its reference."""
    plain, more, less = (workspace.losses(name)[1] for name in ("kto-8x1", "weighed", "weighed-down"))
    share = (more - plain) / (2 * 0.5)
    assert plain == pytest.approx(0.5)
    assert 0 < share < 1
    assert less == pytest.approx(0.5 * share)
    liked = told(workspace, "weighed-down", "logps/chosen")
    assert liked[-1] > liked[0]


@pytest.mark.shows("pref_beta", "pref_ftx")
def test_beta_and_the_plain_loss(workspace: Workspace) -> None:
    plain, beta, ftx = (workspace.losses(name) for name in ("kto-8x1", "beta", "ftx"))
    assert beta[1] == pytest.approx(plain[1])
    assert abs(beta[3] - plain[3]) > 1e-3
    assert ftx[1] > plain[1] + 1.0, "a liked token costs several nats at the beginning"
    liked = {name: told(workspace, name, "logps/chosen") for name in ("kto-8x1", "ftx")}
    assert liked["ftx"][11] > liked["kto-8x1"][11]


def test_a_batch_of_one_kind_is_told_without_the_other(workspace: Workspace) -> None:
    for prefix in ("", "eval_"):
        assert told(workspace, "one-kind", f"{prefix}rewards/chosen")
        assert not told(workspace, "one-kind", f"{prefix}rewards/rejected")
        assert not told(workspace, "one-kind", f"{prefix}rewards/margins")
        assert told(workspace, "one-kind", f"{prefix}kl")
    assert 0 < told(workspace, "one-kind", "eval_loss")[0] < 1
