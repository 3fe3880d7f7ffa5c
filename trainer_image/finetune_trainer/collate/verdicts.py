"""Single answers and whether people liked them: kto."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from finetune_trainer.collate.padding import Batch, Row
from finetune_trainer.collate.rows import Collator


@dataclass(frozen=True, kw_only=True, slots=True)
class VerdictCollator:
    """Each answer, and beside it the same question with another row's answer, from which the divergence is guessed.

    Both are padded on the right, each to a width of its own, as in LLaMA-Factory's KTODataCollatorWithPadding.
    """

    pad_token_id: int
    pad_to_multiple_of: int = 8
    ignore_pad_token_for_loss: bool = True
    """False: pads are learned, as in LLaMA-Factory."""

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Stack rows of `input_ids`, `labels`, `kl_input_ids`, `kl_labels` and `kto_tags` ([1] liked, [0] not).

        Returns:
            `input_ids`, `attention_mask`, `labels`: int64 [rows, sequence]; the same with `kl_` before their names:
            int64 [rows, another sequence]; `kto_tags`: bool [rows], whether the answer is liked; `weight`: int64
            [rows], what the row says, else 1; blank rows say 0.
        """
        stack = Collator(
            pad_token_id=self.pad_token_id,
            pad_to_multiple_of=self.pad_to_multiple_of,
            ignore_pad_token_for_loss=self.ignore_pad_token_for_loss,
        )
        others = stack([{"input_ids": row["kl_input_ids"], "labels": row["kl_labels"]} for row in rows])
        return {
            **stack([{"input_ids": row["input_ids"], "labels": row["labels"]} for row in rows]),
            **{f"kl_{name}": tensor for name, tensor in others.items()},
            "kto_tags": torch.tensor([row["kto_tags"][0] == 1 for row in rows]),
            "weight": torch.tensor([row.get("weight", 1) for row in rows], dtype=torch.long),
        }
