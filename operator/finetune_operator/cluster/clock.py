"""The API server's wall clock, told from its answers: every time that a pass compares with `now` was written by it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

AGREED = timedelta(seconds=3)
"""Dates of answers have whole seconds, and answers take their time: below this, our own clock is as right."""


class ServerClock:
    """Our own clock, corrected where the API server's is another.

    A clock that is an hour ahead would take every pod that is being deleted for one of a lost node, and every start
    for one that has timed out.

    Args:
        own: Our own clock, in UTC.
    """

    def __init__(self, own: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._own = own
        self._ahead: timedelta | None = None

    @property
    def is_set(self) -> bool:
        """An answer has told the time."""
        return self._ahead is not None

    def heard(self, date: str | None) -> None:
        """The Date header of an answer that came just now; without a date in it, nothing changes."""
        try:
            told = parsedate_to_datetime(date or "")
        except ValueError:
            return
        differs = told.astimezone(UTC) - self._own()
        self._ahead = differs if abs(differs) > AGREED else timedelta()

    def now(self) -> datetime:
        """The time by the API server's clock, in UTC."""
        return self._own() + (self._ahead or timedelta())
