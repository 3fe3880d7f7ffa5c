"""What became of the rows: the data report."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune_trainer.data.entry import DataInvalid
from finetune_trainer.data.sources import Source
from finetune_trainer.data.tokens import PLACE
from finetune_trainer.examples import Origin

if TYPE_CHECKING:
    from datasets import Dataset

MOST_DROPPED = 100
"""Dropped rows that the report lists; it counts all of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropped:
    """A row that is not learned, and why."""

    origin: Origin
    reason: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.reason}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PartReport:
    """Counts of one part, train or eval."""

    rows_read: int
    rows_kept: int
    rows_truncated: int
    """Kept, and cut to cutoff_len."""
    rows_without_labels: int
    """Kept, but no token of them is learned: most likely cut too short."""
    tokens: int
    learned_tokens: int
    dropped_by_reason: dict[str, int]
    dropped: tuple[Dropped, ...]
    """The first of them; the counts above are complete."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataReport:
    """data_report.json: what was read, kept, dropped and cut, and how much there is to learn."""

    train: PartReport
    eval: PartReport | None

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return dataclasses.asdict(self)


def describe(tokens: Dataset, sources: Sequence[Source], *, part: str) -> PartReport:
    """Count tokenised rows (columns of `tokens.token_features`).

    Raises:
        DataInvalid: a row holds tools or calls that are not JSON, as LLaMA-Factory refuses it; no row is left.
    """
    import pyarrow.compute as pc

    table = tokens.select_columns([*PLACE, "reason", "refused", "truncated", "tokens", "learned"]).with_format(
        "arrow"
    )[:]
    columns = {name: table.column(name) for name in table.column_names}
    bad = pc.indices_nonzero(pc.is_valid(columns["reason"])).to_pylist()
    dropped = _dropped(columns, bad, sources)
    refused = [row for row, index in zip(dropped, bad, strict=True) if columns["refused"][index].as_py()]
    if refused:
        raise DataInvalid(f"{part}: {len(refused)} rows cannot be used; mend or remove them:\n{_first(refused)}")
    kept = table.num_rows - len(bad)
    if not kept:
        raise DataInvalid(f"{part}: none of the {table.num_rows} rows can be used:\n{_first(dropped)}")
    return PartReport(
        rows_read=table.num_rows,
        rows_kept=kept,
        rows_truncated=pc.sum(columns["truncated"]).as_py(),
        rows_without_labels=pc.sum(pc.equal(columns["learned"], 0)).as_py() - len(bad),
        tokens=pc.sum(columns["tokens"]).as_py(),
        learned_tokens=pc.sum(columns["learned"]).as_py(),
        dropped_by_reason=dict(Counter(row.reason for row in dropped).most_common()),
        dropped=tuple(dropped[:MOST_DROPPED]),
    )


def _dropped(columns: dict[str, Any], bad: Sequence[int], sources: Sequence[Source]) -> list[Dropped]:
    return [Dropped(origin=_origin(columns, index, sources), reason=columns["reason"][index].as_py()) for index in bad]


def _origin(columns: dict[str, Any], index: int, sources: Sequence[Source]) -> Origin:
    number, file, line = (columns[name][index].as_py() for name in PLACE)
    source = sources[number]
    return Origin(dataset=source.entry.name, file=source.names[file], line=line)


def _first(rows: Sequence[Dropped]) -> str:
    more: Iterator[str] = iter([f"... and {len(rows) - 3} more"] if len(rows) > 3 else [])
    return "\n".join([*map(str, rows[:3]), *more])
