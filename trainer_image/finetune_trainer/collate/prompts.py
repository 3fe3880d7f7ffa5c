"""Prompts to be answered: padded on the left, so that all answers begin in one column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from finetune_trainer.collate.padding import Batch, Row, pad, round_up


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptCollator:
    """Pads prompts on the left to the longest, rounded up to a multiple of `pad_to_multiple_of`."""

    pad_token_id: int
    pad_to_multiple_of: int = 8

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Stack the `input_ids` of rows; the answers that the data has for them, `labels`, are left out.

        Returns:
            `input_ids`, `attention_mask`: int64 [batch, sequence]; `weight`: int64 [batch], 0 for a blank row.
        """
        width = round_up(max(len(row["input_ids"]) for row in rows), self.pad_to_multiple_of)
        backwards = [row["input_ids"][::-1] for row in rows]
        ones = [[1] * len(ids) for ids in backwards]
        return {
            "input_ids": pad(backwards, width, self.pad_token_id).flip(1),
            "attention_mask": pad(ones, width, 0).flip(1),
            "weight": torch.tensor([row.get("weight", 1) for row in rows], dtype=torch.long),
        }
