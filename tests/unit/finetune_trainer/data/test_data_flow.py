"""The order of streamed rows: LLaMA-Factory's, recorded by stream_orders.py."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.data.flow import Flow, Open

RECORDED: list[dict[str, Any]] = json.loads(Path(__file__).with_name("stream_orders.json").read_text())


def sources(sizes: list[int]) -> list[Open[int]]:
    return [
        lambda number=number, size=size: iter(range(1000 * number, 1000 * number + size))
        for number, size in enumerate(sizes)
    ]  # type: ignore[misc]


def name(case: dict[str, Any]) -> str:
    return "-".join(str(case[key]) for key in ("sizes", "strategy", "shares", "buffer_size", "epoch"))


@pytest.mark.parametrize("case", RECORDED, ids=name)
@pytest.mark.shows("buffer_size", "mix_strategy", "interleave_probs")
def test_rows_come_in_llamafactorys_order(case: dict[str, Any]) -> None:
    flow = Flow(seed=42, buffer_size=case["buffer_size"], strategy=case["strategy"], shares=tuple(case["shares"]))
    found = itertools.islice(flow.epoch(sources(case["sizes"]), case["epoch"]), 200)
    assert list(found) == case["order"]


@pytest.mark.parametrize("shares", [(), (0.5, 0.3, 0.2)])
def test_interleave_once_gives_every_row_once(shares: tuple[float, ...]) -> None:
    flow = Flow(seed=1, buffer_size=1, strategy="interleave_once", shares=shares)
    rows = list(flow.epoch(sources([5, 3, 9]), 0))
    assert Counter(rows) == Counter([*range(5), *range(1000, 1003), *range(2000, 2009)])


def test_an_empty_data_set_ends_nothing_but_under() -> None:
    once = Flow(seed=1, buffer_size=1, strategy="interleave_once")
    assert sorted(once.epoch(sources([0, 3]), 0)) == [1000, 1001, 1002]


def test_no_more_is_read_than_the_buffer_holds() -> None:
    read: list[int] = []

    def endless() -> Iterator[int]:
        for number in itertools.count():
            read.append(number)
            yield number

    flow = Flow(seed=0, buffer_size=100)
    next(flow.epoch([endless], 0))
    assert len(read) <= 102
