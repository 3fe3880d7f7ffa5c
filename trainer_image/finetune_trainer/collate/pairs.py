"""Pairs of answers to one prompt: rm and dpo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from finetune_trainer.collate.padding import Batch, Row
from finetune_trainer.collate.rows import Collator


@dataclass(frozen=True, kw_only=True, slots=True)
class PairCollator:
    """Chosen answers first, then the rejected ones in the same order, all padded on the right to one width.

    One forward then sees both halves, as in LLaMA-Factory's PairwiseDataCollatorWithPadding.
    """

    pad_token_id: int
    pad_to_multiple_of: int = 8
    ignore_pad_token_for_loss: bool = True
    """False: pads are learned, as in LLaMA-Factory."""

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Stack rows of `chosen_input_ids`, `chosen_labels`, `rejected_input_ids` and `rejected_labels`.

        Returns:
            `input_ids`, `attention_mask`, `labels`: int64 [2 * pairs, sequence], row `pairs + n` being the rejected
            answer of pair n; `weight`: int64 [pairs], what the row says, else 1; blank rows say 0. Whole numbers, as
            DeepSpeed casts a batch's fractions to the type that it trains in.
        """
        sides = [
            {"input_ids": row[f"{side}_input_ids"], "labels": row[f"{side}_labels"]}
            for side in ("chosen", "rejected")
            for row in rows
        ]
        stack = Collator(
            pad_token_id=self.pad_token_id,
            pad_to_multiple_of=self.pad_to_multiple_of,
            ignore_pad_token_for_loss=self.ignore_pad_token_for_loss,
        )
        return {**stack(sides), "weight": torch.tensor([row.get("weight", 1) for row in rows], dtype=torch.long)}
