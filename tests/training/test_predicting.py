"""Answers in place of losses: do_predict and predict_with_generate, alone, after training, and on two ranks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.tiny_model import make_rows, write_dataset
from tests.training.runs import Workspace

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

PREDICT = {
    "predict_with_generate": True,
    "eval_dataset": "asked",
    "max_new_tokens": 6,
    "do_sample": False,
    "per_device_eval_batch_size": 3,
}
ALONE = {**PREDICT, "do_train": False, "do_predict": True, "dataset": None}
RUNS: dict[str, dict[str, Any]] = {
    "alone": ALONE,
    "drawn": {**ALONE, "do_sample": True, "temperature": 3.0},
    "special": {**ALONE, "skip_special_tokens": False},
    "held-out": {**ALONE, "eval_dataset": None, "dataset": "words", "val_size": 7},
    "trained": {
        **PREDICT,
        "do_predict": True,
        "do_eval": True,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "max_steps": 4,
    },
    "unasked": {"max_steps": 4},
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """All on one rank, in one process."""
    workspace = Workspace.make(tmp_path_factory.mktemp("predicting"), rows=32)
    write_dataset(workspace.folder / "data", make_rows(7, seed=4), name="asked")
    names = ("words", "asked")
    info = {name: {"file_name": f"{name}.json"} for name in names}
    (workspace.folder / "data" / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    workspace.run(*(workspace.config(name, changes) for name, changes in RUNS.items()))
    return workspace


def predictions(workspace: Workspace, name: str) -> list[dict[str, str]]:
    """generated_predictions.jsonl."""
    path = workspace.output(name) / "generated_predictions.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def results(workspace: Workspace, name: str, phase: str = "predict") -> dict[str, float]:
    """predict_results.json or eval_results.json, without times."""
    told = json.loads((workspace.output(name) / f"{phase}_results.json").read_text(encoding="utf-8"))
    return {key: value for key, value in told.items() if "rouge" in key or "bleu" in key}


@pytest.mark.shows("do_predict", "predict_with_generate")
def test_each_row_is_answered_once_and_in_order(workspace: Workspace) -> None:
    found, asked = predictions(workspace, "alone"), make_rows(7, seed=4)
    assert [row["label"] for row in found] == [row["output"] for row in asked]
    for row, raw in zip(found, asked, strict=True):
        assert row["prompt"].startswith("<|begin_of_text|><|start_header_id|>user<|end_header_id|>")
        assert row["prompt"].endswith("assistant<|end_header_id|>\n\n")
        assert raw["instruction"] in row["prompt"]
    assert set(results(workspace, "alone")) == {
        f"predict_{name}" for name in ("bleu-4", "rouge-1", "rouge-2", "rouge-l")
    }
    left = {path.name for path in workspace.output("alone").iterdir()}
    assert not left & {"model.safetensors", "train_results.json", "eval_results.json", "README.md"}
    assert not (workspace.output("unasked") / "generated_predictions.jsonl").exists()


def test_two_ranks_share_the_rows(workspace: Workspace) -> None:
    workspace.run(workspace.config("ranks", RUNS["drawn"]), ranks=2)
    assert predictions(workspace, "ranks") == predictions(workspace, "drawn")
    assert results(workspace, "ranks") == results(workspace, "drawn")
    assert predictions(workspace, "drawn") != predictions(workspace, "alone")


@pytest.mark.shows("skip_special_tokens")
def test_special_tokens_are_shown_where_wished(workspace: Workspace) -> None:
    plain, special = predictions(workspace, "alone"), predictions(workspace, "special")
    assert [row["label"] for row in special] == [f"{row['label']}<|eot_id|>" for row in plain]


def test_rows_held_out_of_the_training_set(workspace: Workspace) -> None:
    texts = {row["output"] for row in make_rows(32)}
    assert len(predictions(workspace, "held-out")) == 7
    assert {row["label"] for row in predictions(workspace, "held-out")} <= texts


def test_evaluation_answers_too_and_training_does_not_notice(workspace: Workspace) -> None:
    state = json.loads((workspace.output("trained") / "trainer_state.json").read_text(encoding="utf-8"))
    told = [entry for entry in state["log_history"] if "eval_bleu-4" in entry]
    assert [entry["step"] for entry in told] == [2, 4, 4]
    assert all("eval_loss" not in entry for entry in told)
    last = {name.replace("eval", "predict"): value for name, value in results(workspace, "trained", "eval").items()}
    assert results(workspace, "trained") == last
    assert workspace.losses("trained") == workspace.losses("unasked")
