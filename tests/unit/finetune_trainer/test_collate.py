"""Batches out of rows of unequal length."""

from __future__ import annotations

import torch

from finetune_trainer.collate import Collator

ROWS = [{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}, {"input_ids": [8], "labels": [8]}]


def test_rows_are_padded_on_the_right_to_a_multiple() -> None:
    batch = Collator(pad_token_id=9, pad_to_multiple_of=4)(ROWS)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 9], [8, 9, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]
    assert batch["labels"].tolist() == [[-100, 6, 7, -100], [8, -100, -100, -100]]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_a_full_width_gets_no_more_padding() -> None:
    batch = Collator(pad_token_id=0)([{"input_ids": [1] * 8, "labels": [1] * 8}])
    assert batch["input_ids"].shape == (1, 8)
