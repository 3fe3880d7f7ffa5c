"""Scores of answers, against those of LLaMA-Factory 0.9.5's train/sft/metric.py for the same texts (made once)."""

from __future__ import annotations

import sys

import pytest

from finetune_trainer import predict
from finetune_trainer.failures import RunError

ROWS = [
    ("the river runs to the sea", "the river runs slowly to the sea", (90.9091, 72.7273, 92.3077, 72.9832)),
    ("你好，世界", "你好，世界！", (85.7143, 80.0, 85.7143, 81.8731)),  # noqa: RUF001 - as Chinese is written
    ("", "something", (0.0, 0.0, 0.0, 0.0)),
    ("stone lamp", "winter seven", (0.0, 0.0, 0.0, 5.1373)),
    ("a", "a", (100.0, 0.0, 100.0, 35.3553)),
]
NAMES = ("rouge-1", "rouge-2", "rouge-l", "bleu-4")


@pytest.mark.parametrize(("predicted", "label", "theirs"), ROWS)
def test_a_row_as_llamafactory(predicted: str, label: str, theirs: tuple[float, ...]) -> None:
    assert predict.scores([predicted], [label]) == dict(zip(NAMES, theirs, strict=True))


def test_rows_are_averaged() -> None:
    found = predict.scores([row[0] for row in ROWS], [row[1] for row in ROWS])
    theirs = {"rouge-1": 55.32468, "rouge-2": 30.54546, "rouge-l": 55.6044, "bleu-4": 39.06978}
    assert found == pytest.approx(theirs, rel=1e-9)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rouge_chinese", None)
    with pytest.raises(RunError, match="predict_with_generate: rouge_chinese is not installed; pip install"):
        predict.check_installed()
