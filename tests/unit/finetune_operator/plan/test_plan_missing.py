"""When it is asked why pods are missing: late, and ever more seldom."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from finetune_operator.observe import ObservedAttempt
from finetune_operator.plan import missing

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
LIVE = ObservedAttempt(number=1, exists=True, created=START, phase="Created", wanted=2)


@pytest.mark.parametrize(
    ("age", "asks", "next_look"),
    [(0, False, 5), (4, False, 1), (5, True, 5), (20, True, 20), (60, True, 60), (3600, True, 60)],
)
def test_the_longer_they_are_missing_the_longer_is_the_next_wait(age: int, asks: bool, next_look: float) -> None:
    now = START + timedelta(seconds=age)
    assert missing.asks_why(LIVE, now) is asks
    assert missing.look_again(LIVE, now) == next_look


def test_nobody_asks_where_all_are_there_or_the_answer_is_known() -> None:
    now = START + timedelta(seconds=60)
    complete = replace(LIVE, wanted=0)
    assert not missing.asks_why(complete, now)
    assert missing.look_again(complete, now) is None
    assert missing.look_again(replace(LIVE, refusal="exceeded quota"), now) is None
