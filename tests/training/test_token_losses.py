"""Stage pt and the losses of sft: the same training however it is split, and unlike plain sft as they should be."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from tests.training.runs import Workspace
from tests.training.splits import EVERY_SPLIT, SPLITS, assert_falls, assert_same, train_split, train_whole

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

STEPS = {"max_steps": 20}
PT = {**STEPS, "stage": "pt", "packing": False, "val_size": 8, "do_eval": True}
LORA = {"finetuning_type": "lora", "learning_rate": 1.0e-2}
LOSSES: dict[str, dict[str, Any]] = {
    "plain": {},
    "dft": {"use_dft_loss": True},
    "eaft": {"use_eaft_loss": True},
    "asft": {"use_asft_loss": True},
    "asft-lora": {"use_asft_loss": True, **LORA},
    "smooth": {"label_smoothing_factor": 0.1},
}
SPLIT = [name for name in LOSSES if name != "plain"]
WEAK = {
    "eaft-0": {"use_eaft_loss": True, "eaft_alpha": 0.0},
    "asft-0": {"use_asft_loss": True, "asft_alpha": 0.0},
    "asft-9": {"use_asft_loss": True, "asft_alpha": 9.0},
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """What runs on one rank runs here, in one process; eight steps make an epoch."""
    workspace = Workspace.make(tmp_path_factory.mktemp("token-losses"), rows=60)
    ones = [workspace.config(f"{name}-8x1", {**STEPS, **changes}) for name, changes in LOSSES.items()]
    eighths = [workspace.config(f"{name}-1x8", {**STEPS, **LOSSES[name], **SPLITS["1x8"][1]}) for name in SPLIT]
    weak = [workspace.config(f"{name}-8x1", {**STEPS, **changes}) for name, changes in WEAK.items()]
    workspace.run(*ones)
    workspace.run(*eighths, *weak)
    return workspace


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Stage pt, whole."""
    workspace = Workspace.make(tmp_path_factory.mktemp("documents"), rows=60)
    train_whole(workspace, "pt", PT)
    return workspace


@pytest.mark.shows("stage")
@pytest.mark.parametrize("split", EVERY_SPLIT)
def test_pt_is_the_same_however_it_is_split(documents: Workspace, split: str) -> None:
    train_split(documents, "pt", split, PT)
    assert_same(documents, "pt", split)


def test_pt_learns_and_tells_its_perplexity(documents: Workspace) -> None:
    assert_falls(documents, "pt")
    results = json.loads((documents.output("pt-8x1") / "eval_results.json").read_text(encoding="utf-8"))
    assert results["eval_perplexity"] == pytest.approx(math.exp(results["eval_loss"]))


@pytest.mark.parametrize("name", SPLIT)
def test_a_loss_of_sft_accumulated(workspace: Workspace, name: str) -> None:
    assert_same(workspace, name, "1x8")
    if name not in ("dft", "asft"):  # their loss is not what falls: p * -log p rises while p is small
        assert_falls(workspace, name)


@pytest.mark.parametrize("name", SPLIT)
def test_a_loss_of_sft_on_two_ranks(workspace: Workspace, name: str) -> None:
    train_split(workspace, name, "ddp", {**STEPS, **LOSSES[name]})
    assert_same(workspace, name, "ddp")


@pytest.mark.shows("use_dft_loss", "use_eaft_loss", "use_asft_loss", "label_smoothing_factor")
def test_each_differs_from_plain_sft_as_it_should(workspace: Workspace) -> None:
    first = {name: workspace.losses(f"{name}-8x1")[1] for name in LOSSES}
    assert first["dft"] < 0.01 * first["plain"], "a fresh model holds every token for unlikely"
    assert first["eaft"] == pytest.approx(first["plain"], rel=0.05), "and is sure of none"
    assert first["asft"] == pytest.approx(first["dft"], abs=1e-6), "the reference is the model at the beginning"
    assert first["smooth"] != pytest.approx(first["plain"], rel=1e-4)
    later = {name: workspace.losses(f"{name}-8x1")[4] for name in LOSSES}
    assert len({round(loss, 6) for loss in later.values()}) == len(later)


@pytest.mark.shows("asft_alpha", "eaft_alpha")
def test_their_strengths(workspace: Workspace) -> None:
    def told(name: str) -> list[float]:
        return [workspace.losses(f"{name}-8x1")[step] for step in range(1, 5)]

    assert told("eaft-0") == pytest.approx(told("plain"), rel=1e-5), "a power of nought weighs nothing"
    assert told("asft-0") == pytest.approx(told("dft"), rel=1e-5), "held by nothing"
    assert told("asft-9")[3] > told("asft-0")[3] + 0.01
