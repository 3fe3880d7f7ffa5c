"""When it is asked again why pods are missing: ever more seldom."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from finetune_operator.observe import ObservedAttempt
from finetune_operator.plan import missing

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
LIVE = ObservedAttempt(number=1, exists=True, created=START, phase="Created", wanted=2)


@pytest.mark.parametrize(
    ("age", "next_look"),
    [(0, 1), (1, 1), (5, 5), (20, 20), (60, 60), (3600, 60)],
)
def test_the_longer_they_are_missing_the_longer_is_the_next_wait(age: int, next_look: float) -> None:
    now = START + timedelta(seconds=age)
    assert missing.look_again(LIVE, now) == next_look


def test_nobody_asks_where_all_are_there_or_the_answer_is_known() -> None:
    now = START + timedelta(seconds=60)
    complete = replace(LIVE, wanted=0)
    assert missing.look_again(complete, now) is None
    assert missing.look_again(replace(LIVE, refusal="exceeded quota"), now) is None
