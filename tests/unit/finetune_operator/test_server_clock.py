"""Whose clock a pass reads."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from finetune_operator.cluster.clock import ServerClock

OWN = datetime(2026, 1, 1, 12, 0, 0, 400_000, tzinfo=UTC)


def clock(date: str | None) -> ServerClock:
    made = ServerClock(lambda: OWN)
    made.heard(date)
    return made


def date(ahead: timedelta) -> str:
    return format_datetime(OWN + ahead, usegmt=True)


@pytest.mark.parametrize("ahead", [timedelta(hours=2), timedelta(hours=-2), timedelta(seconds=10)])
def test_a_clock_that_differs_is_corrected(ahead: timedelta) -> None:
    assert abs(clock(date(ahead)).now() - OWN - ahead) <= timedelta(seconds=1)


@pytest.mark.parametrize("ahead", [timedelta(), timedelta(seconds=-1), timedelta(seconds=2)])
def test_clocks_that_agree_leave_our_own_as_it_is(ahead: timedelta) -> None:
    assert clock(date(ahead)).now() == OWN


@pytest.mark.parametrize("said", [None, "", "soon", "Thu, 99 Jan 2026 12:00:00 GMT"])
def test_what_is_no_date_tells_nothing(said: str | None) -> None:
    made = clock(said)
    assert (made.is_set, made.now()) == (False, OWN)


def test_a_clock_that_was_set_right_is_believed_again() -> None:
    made = clock(date(timedelta(hours=1)))
    made.heard(date(timedelta()))
    assert (made.is_set, made.now()) == (True, OWN)
