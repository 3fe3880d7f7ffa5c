"""Which rows a run takes: equal to what LLaMA-Factory's own loader takes (select_golden.json, made by
tests/conformance/neighbours.py in LLaMA-Factory's environment)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conformance.neighbours import SAMPLED, SETS

from finetune_trainer.data.entry import DataInvalid
from finetune_trainer.data.select import MERGED, Choice, Rows, SetSize, select, windows

GOLDEN = json.loads(Path(__file__).with_name("select_golden.json").read_text())


def size(name: str) -> SetSize:
    of, count = SAMPLED.get(name, (name, None))
    return SetSize(name=name, rows=SETS[of], num_samples=count)


def told(rows: Rows, names: list[str]) -> list[list[Any]]:
    """As the golden file says it: [the set's file, row]."""
    files = [SAMPLED.get(name, (name,))[0] for name in names]
    return [[files[number], row] for number, row in zip(rows.sets.tolist(), rows.rows.tolist(), strict=True)]


def choice_of(case: Mapping[str, Any]) -> Choice:
    keys = ("seed", "max_samples", "mix_strategy", "val_size", "eval_on_each_dataset")
    shares = tuple(float(share) for share in case.get("interleave_probs", "").split(",") if share)
    return Choice(**{key: case[key] for key in keys if key in case}, interleave_probs=shares)


@pytest.mark.parametrize("case", GOLDEN["choices"], ids=lambda case: str({**case, "parts": ...}))
@pytest.mark.shows("mix_strategy", "interleave_probs", "seed")
def test_the_same_rows_in_the_same_order_as_llamafactory(case: dict[str, Any]) -> None:
    train, held_out = case["dataset"], case.get("eval_dataset", [])
    chosen = select([size(name) for name in train], [size(name) for name in held_out], choice_of(case))
    assert chosen.train is not None
    parts = {"train": told(chosen.train, train)}
    for name, rows in chosen.eval.items():
        parts[f"validation_{name}" if name else "validation"] = told(rows, held_out or train)
    assert parts == case["parts"]


def test_interleave_once_takes_each_row_once_in_the_order_of_its_set() -> None:
    """LLaMA-Factory 0.9.5 cannot do it with the datasets version that it pins, so there is no golden."""
    choice = Choice(seed=1, mix_strategy="interleave_once", interleave_probs=(0.5, 0.5))
    rows = select([size("a"), size("b")], [], choice).train
    assert rows is not None
    for number, name in enumerate("ab"):
        assert rows.rows[rows.sets == number].tolist() == list(range(SETS[name]))
    assert 0 < rows.sets[: SETS["a"]].sum() < SETS["a"], "mixed from the start"


def test_a_set_that_is_named_twice_counts_as_two() -> None:
    rows = select([size("d"), size("d")], [], Choice(seed=1)).train
    assert rows is not None
    assert rows.sets.tolist() == [0] * 5 + [1] * 5


def test_evaluating_without_training() -> None:
    chosen = select([], [size("d")], Choice(seed=1))
    assert chosen.train is None
    assert chosen.eval[MERGED].rows.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(seed=1, val_size=35), "val_size: cannot hold out 35 of 35 rows, something must be left to train on"),
        (Choice(seed=1, val_size=0.99), "val_size: cannot hold out 0.99 of 35 rows"),
        (
            Choice(seed=1, mix_strategy="interleave_over", interleave_probs=(1.0,)),
            r"interleave_probs: 1 shares for 3 data sets \(a, b, d\); write one for each",
        ),
        (
            Choice(seed=1, mix_strategy="interleave_over", interleave_probs=(0.5, 0.3, 0.1)),
            "interleave_probs: 0.5, 0.3, 0.1 add up to 0.9; write shares of 0 or more that add up to 1",
        ),
        (
            Choice(seed=1, mix_strategy="interleave_once", interleave_probs=(0.5, 0.0, 0.5)),
            "interleave_probs: with a share of 0, b is never used up",
        ),
    ],
)
def test_a_choice_that_does_not_fit_is_told(choice: Choice, message: str) -> None:
    with pytest.raises(DataInvalid, match=message):
        select([size("a"), size("b"), size("d")], [], choice)


def test_a_set_without_rows_is_told() -> None:
    with pytest.raises(DataInvalid, match="none: the data set has no rows"):
        select([SetSize(name="none", rows=0, num_samples=5)], [], Choice(seed=1))


@pytest.mark.parametrize("case", GOLDEN["windows"], ids=lambda case: str(case["window"]))
@pytest.mark.shows("preprocessing_batch_size")
def test_windows_are_the_batches_of_datasets_map(case: dict[str, Any]) -> None:
    rows, workers, batch_size = case["window"]
    ends = windows(rows, workers=workers, batch_size=batch_size)
    assert np.stack([ends[:-1], ends[1:] - 1], axis=1).tolist() == case["spans"]


def test_no_rows_are_no_window() -> None:
    assert windows(0, workers=4, batch_size=1000).tolist() == [0]
