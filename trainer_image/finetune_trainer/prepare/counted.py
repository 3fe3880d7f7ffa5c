"""How much there is to learn from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """What there is to learn from; None: not looked at, or streamed."""

    rows: int | None = None
    """Kept."""
    dropped: int | None = None
    sequences: int | None = None
    """After packing: what a step takes its batch from."""
    tokens: int | None = None

    def words(self) -> str:
        """For people; empty where nothing is known."""
        if self.rows is None:
            return ""
        dropped = f", {self.dropped:,} dropped" if self.dropped else ""
        return f"{self.rows:,} rows{dropped}, {self.tokens:,} tokens"


UNKNOWN = Counted()
