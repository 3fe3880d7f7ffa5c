"""Which rows a rank sees, and when: the same rows in each global batch, whatever it is made of.

Eight rows on one rank, one row in eight accumulated batches, or four rows on each of two ranks are the same step.
transformers' and accelerate's samplers come close; at an epoch's end they repeat rows to fill up the last batch of
some ranks, so a run on two ranks learns other rows than a run on one. Here blank rows fill up, which teach nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset, Sampler

from finetune_trainer.examples import IGNORE_INDEX


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """The order of rows in an epoch, from nothing but a seed and the epoch's number."""

    seed: int
    shuffle: bool = True
    lengths: Sequence[int] | None = None
    """Tokens of each row, to put rows of like length together; None leaves them where chance puts them."""
    global_batch: int = 1

    def of_epoch(self, epoch: int, rows: int) -> list[int]:
        """Indices 0 to rows - 1, each once."""
        if not self.shuffle:
            return list(range(rows))
        generator = torch.Generator().manual_seed(self.seed + epoch)
        order: list[int] = torch.randperm(rows, generator=generator).tolist()
        return order if self.lengths is None else self._grouped(order, self.lengths)

    def _grouped(self, order: Sequence[int], lengths: Sequence[int]) -> list[int]:
        """Longest first within stretches of 50 global batches, the longest of all at the very beginning.

        As transformers' LengthGroupedSampler: what does not fit into memory fails at once.
        """
        stretch = self.global_batch * max(1, min(50, len(order) // (self.global_batch * 4)))
        starts = range(0, len(order), stretch)
        stretches = [sorted(order[at : at + stretch], key=lambda row: -lengths[row]) for at in starts]
        longest = max(range(len(stretches)), key=lambda at: lengths[stretches[at][0]])
        stretches[0][0], stretches[longest][0] = stretches[longest][0], stretches[0][0]
        return [row for rows in stretches for row in rows]


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """How a global batch is split: micro batches of `batch_size` rows go round the ranks."""

    batch_size: int
    rank: int = 0
    ranks: int = 1
    drop_last: bool = False

    def batches(self, order: Sequence[int], blank: int) -> list[list[int]]:
        """This rank's micro batches. Every rank gets as many; `blank` fills up where rows run out."""
        wide = self.batch_size * self.ranks
        whole = len(order) // wide * wide
        if self.drop_last or whole == len(order):
            order = order[:whole]
        elif self.ranks > 1:
            order = [*order, *[blank] * (whole + wide - len(order))]
        starts = range(self.rank * self.batch_size, len(order), wide)
        return [list(order[start : start + self.batch_size]) for start in starts]


class GlobalBatches(Sampler[list[int]]):
    """A batch sampler that knows its rank: transformers must not let accelerate split it again."""

    def __init__(self, rows: int, order: Order, split: Split) -> None:
        self._rows = rows
        self._order = order
        self._split = split
        self.epoch = 0
        """Set at each epoch's begin; named unlike `set_epoch`, which accelerate calls with counts of its own."""

    def __iter__(self) -> Iterator[list[int]]:
        """Batches of row numbers; the number `rows` is the blank row."""
        yield from self._split.batches(self._order.of_epoch(self.epoch, self._rows), blank=self._rows)

    def rows_of(self, epoch: int, number: int, *, rank: int) -> list[int]:
        """The rows of one micro batch of any rank, without blanks."""
        split = dataclasses.replace(self._split, rank=rank)
        batch = split.batches(self._order.of_epoch(epoch, self._rows), blank=self._rows)[number]
        return [row for row in batch if row < self._rows]

    def __len__(self) -> int:
        """Micro batches of this rank in an epoch."""
        return len(self._split.batches(range(self._rows), blank=self._rows))


class StreamedBatches(IterableDataset[list[Mapping[str, Any]]]):
    """This rank's micro batches of rows that never end. Every rank reads all rows, so that all see one order."""

    def __init__(self, rows: Iterable[Mapping[str, Any]], split: Split) -> None:
        self._rows = rows
        self._split = split

    def __iter__(self) -> Iterator[list[Mapping[str, Any]]]:
        """Lists of `batch_size` rows; micro batches go round the ranks as in `Split`."""
        rows, size = iter(self._rows), self._split.batch_size
        while wide := list(itertools.islice(rows, size * self._split.ranks)):
            yield wide[self._split.rank * size :][:size]


class WithBlank(Dataset[Mapping[str, Any]]):
    """Rows, and after the last one a blank: a real row of which no token is learned and whose weight is 0."""

    def __init__(self, rows: Any) -> None:  # noqa: ANN401 - a datasets.Dataset or a list
        self._rows = rows

    def __len__(self) -> int:
        """The real rows: an epoch is not longer for its blanks."""
        return len(self._rows)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """The row, or the blank."""
        if index < len(self._rows):
            row: Mapping[str, Any] = self._rows[index]
            return row
        first = self._rows[0]
        blank = {name: [IGNORE_INDEX] * len(first[name]) for name in first if name.endswith("labels")}
        if "input_ids" in first:
            blank["labels"] = [IGNORE_INDEX] * len(first["input_ids"])  # documents bring no labels
        return {**first, **blank, "weight": 0}
