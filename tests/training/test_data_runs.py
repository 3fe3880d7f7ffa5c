"""Runs whose data come in other ways: streamed, packed, prepared before. Whole runs, as users start them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.training.runs import Workspace
from transformers import AutoTokenizer

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

STREAMED = {
    "streaming": True,
    "max_steps": 30,
    "buffer_size": 50,
    "logging_steps": 1,
    "lr_scheduler_type": "constant",
    "warmup_ratio": 0.0,
}
PACKED = {"neat_packing": True, "cutoff_len": 128, "per_device_train_batch_size": 2, "max_steps": 8}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One model and data set for all."""
    return Workspace.make(tmp_path_factory.mktemp("data-runs"))


@pytest.fixture(scope="module")
def streamed(workspace: Workspace) -> Workspace:
    """A streamed run of more than one pass over the 150 rows."""
    workspace.run(workspace.config("streamed", STREAMED))
    return workspace


def report(workspace: Workspace, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workspace.output(name) / "data_report.json").read_text())
    return found


def close(losses: dict[int, float], expected: dict[int, float]) -> bool:
    return losses.keys() == expected.keys() and all(abs(losses[step] - expected[step]) < 1e-4 for step in losses)


@pytest.mark.shows("streaming", "max_steps")
def test_a_stream_ends_after_max_steps_and_is_counted(streamed: Workspace) -> None:
    losses = streamed.losses("streamed")
    assert sorted(losses) == list(range(1, 31))
    assert losses[30] < losses[1]
    assert report(streamed, "streamed")["parts"]["train"]["rows_read"] == 150, "all of the first pass"


def test_a_stream_goes_on_where_it_stopped(streamed: Workspace) -> None:
    streamed.leave_checkpoint("stream-resumed", of="streamed", step=20)  # in the second pass over the rows
    streamed.run(streamed.config("stream-resumed", STREAMED))
    expected = {step: loss for step, loss in streamed.losses("streamed").items() if step > 20}
    assert close(streamed.losses("stream-resumed"), expected)


def test_two_ranks_share_a_stream(streamed: Workspace) -> None:
    streamed.run(streamed.config("stream-2", {**STREAMED, "per_device_train_batch_size": 4}), ranks=2)
    assert close(streamed.losses("stream-2"), streamed.losses("streamed"))


def test_packed_rows_do_not_see_each_other(workspace: Workspace) -> None:
    """Accumulated packed rows are the same step as packed rows side by side, pads and all."""
    workspace.run(
        workspace.config("neat", PACKED),
        workspace.config("neat-1x2", {**PACKED, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}),
    )
    assert close(workspace.losses("neat"), workspace.losses("neat-1x2"))
    packed = report(workspace, "neat")["parts"]["train"]["packed"]
    assert 0 < packed["sequences"] < 150


def test_prepared_before_and_read_again(workspace: Workspace, tmp_path: Path) -> None:
    kept = {"tokenized_path": str(tmp_path / "tokens"), "max_steps": 5}
    workspace.run(workspace.config("first", kept), workspace.config("again", {**kept, "dataset": "no-such-set"}))
    assert workspace.losses("first") == workspace.losses("again")
    assert any(note.startswith("tokenized_path: ") for note in report(workspace, "again")["notes"])


def test_the_saved_tokenizer_writes_what_was_trained(streamed: Workspace) -> None:
    """llama3 by name; the tiny tokenizer has no chat template of its own, so ours is saved."""
    tokenizer = AutoTokenizer.from_pretrained(streamed.output("streamed"))
    said = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
    text = tokenizer.apply_chat_template(said, tokenize=False)
    assert text.endswith(
        "<|start_header_id|>user<|end_header_id|>\n\none<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\ntwo<|eot_id|>"
    )
    assert any(note.startswith("chat template: ") for note in report(streamed, "streamed")["notes"])
    assert "chat template: " in (streamed.output("streamed") / "README.md").read_text()
