"""Rows side by side: conversations, each by itself or packed, and documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from finetune_trainer.collate.padding import Batch, Row, pad, round_up
from finetune_trainer.examples import IGNORE_INDEX


@dataclass(frozen=True, kw_only=True, slots=True)
class Collator:
    """Pads on the right to the longest row, rounded up to a multiple of `pad_to_multiple_of`.

    Packed rows bring an `attention_mask` of ones, also on their pads, and `position_ids` that begin anew in each row
    that was packed: these rows see each other, as with LLaMA-Factory's `packing`.
    """

    pad_token_id: int
    pad_to_multiple_of: int = 8
    ignore_pad_token_for_loss: bool = True
    """False: pads are learned, as in LLaMA-Factory; not those that packing has put in."""

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Stack rows of `input_ids` and `labels`, and of `attention_mask` and `position_ids` where rows have them.

        Returns:
            `input_ids`, `attention_mask`, `labels`, perhaps `position_ids`: int64 [batch, sequence]; pads are the pad
            id, 0, -100 (or the pad id), 0.
        """
        width = round_up(max(len(row["input_ids"]) for row in rows), self.pad_to_multiple_of)
        masks = [row["attention_mask"] if "attention_mask" in row else [1] * len(row["input_ids"]) for row in rows]
        unlearned = IGNORE_INDEX if self.ignore_pad_token_for_loss else self.pad_token_id
        batch = {
            "input_ids": pad([row["input_ids"] for row in rows], width, self.pad_token_id),
            "attention_mask": pad(masks, width, 0),
            "labels": pad([row["labels"] for row in rows], width, unlearned),
        }
        if "position_ids" in rows[0]:
            batch["position_ids"] = pad([row["position_ids"] for row in rows], width, 0)
        return batch


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentCollator:
    """Documents and blocks of them: every token is learned, except those equal to the pad id.

    So it is in LLaMA-Factory (transformers' DataCollatorForLanguageModeling): where a tokenizer has no pad of its own
    and pads with eos, the end of a document is not learned.
    """

    pad_token_id: int

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Stack rows of `input_ids`; `labels` are looked at where a row has them (a blank row teaches nothing).

        Returns:
            `input_ids`, `attention_mask`, `labels`: int64 [batch, longest row]; pads are the pad id, 0 and -100.
        """
        width = max(len(row["input_ids"]) for row in rows)
        ids = pad([row["input_ids"] for row in rows], width, self.pad_token_id)
        labels = pad([row.get("labels", row["input_ids"]) for row in rows], width, IGNORE_INDEX)
        return {
            "input_ids": ids,
            "attention_mask": pad([[1] * len(row["input_ids"]) for row in rows], width, 0),
            "labels": labels.masked_fill(ids == self.pad_token_id, IGNORE_INDEX),
        }


def places(batch: Mapping[str, torch.Tensor]) -> int:
    """How many tokens of a batch there are, with its pads."""
    return batch["input_ids"].numel()


def tokens(batch: Mapping[str, torch.Tensor]) -> int:
    """How many tokens of a batch are none of its pads; of packed rows' own pads, those that the mask leaves out."""
    mask = batch.get("attention_mask")
    if mask is not None and mask.ndim == 2:
        return int(mask.sum())
    positions = batch["position_ids"]
    runs_on = torch.zeros_like(positions, dtype=torch.bool)
    runs_on[:, :-1] = positions[:, 1:] > 0
    return int((runs_on | (positions > 0)).sum())
