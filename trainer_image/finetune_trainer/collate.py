"""Token ids to tensors: rows of unequal length become one padded batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from finetune_trainer.examples import IGNORE_INDEX


@dataclass(frozen=True, kw_only=True, slots=True)
class Collator:
    """Pads on the right to the longest row, rounded up to a multiple of `pad_to_multiple_of`."""

    pad_token_id: int
    pad_to_multiple_of: int = 8

    def __call__(self, rows: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, torch.Tensor]:
        """Stack rows of `input_ids` and `labels`.

        Returns:
            `input_ids`, `attention_mask`, `labels`: int64 [batch, sequence]; pads are the pad id, 0 and -100.
        """
        longest = max(len(row["input_ids"]) for row in rows)
        width = -(-longest // self.pad_to_multiple_of) * self.pad_to_multiple_of
        return {
            "input_ids": self._pad([row["input_ids"] for row in rows], width, self.pad_token_id),
            "attention_mask": self._pad([[1] * len(row["input_ids"]) for row in rows], width, 0),
            "labels": self._pad([row["labels"] for row in rows], width, IGNORE_INDEX),
        }

    @staticmethod
    def _pad(lists: Sequence[Sequence[int]], width: int, value: int) -> torch.Tensor:
        return torch.tensor([[*ids, *[value] * (width - len(ids))] for ids in lists], dtype=torch.long)
