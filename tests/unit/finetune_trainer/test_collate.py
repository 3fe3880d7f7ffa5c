"""Batches out of rows of unequal length: conversations, packed rows that see each other, documents."""

from __future__ import annotations

import pytest
import torch

from finetune_trainer.collate import Collator, DocumentCollator, tokens

ROWS = [{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}, {"input_ids": [8], "labels": [8]}]


def test_rows_are_padded_on_the_right_to_a_multiple() -> None:
    batch = Collator(pad_token_id=9, pad_to_multiple_of=4)(ROWS)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 9], [8, 9, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]
    assert batch["labels"].tolist() == [[-100, 6, 7, -100], [8, -100, -100, -100]]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}
    assert tokens(batch) == 4


def test_a_full_width_gets_no_more_padding() -> None:
    batch = Collator(pad_token_id=0)([{"input_ids": [1] * 8, "labels": [1] * 8}])
    assert batch["input_ids"].shape == (1, 8)


@pytest.mark.shows("ignore_pad_token_for_loss")
def test_pads_can_be_learned_as_in_llamafactory() -> None:
    batch = Collator(pad_token_id=9, pad_to_multiple_of=4, ignore_pad_token_for_loss=False)(ROWS)
    assert batch["labels"].tolist() == [[-100, 6, 7, 9], [8, 9, 9, 9]]


def test_packed_rows_keep_their_mask_and_positions() -> None:
    row = {"input_ids": [5, 6, 8, 9], "labels": [-100, 6, 8, -100]}
    row |= {"attention_mask": [1, 1, 1, 1], "position_ids": [0, 1, 0, 0]}
    batch = Collator(pad_token_id=9, pad_to_multiple_of=6)([row, row])
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 0, 0]] * 2
    assert batch["position_ids"].tolist() == [[0, 1, 0, 0, 0, 0]] * 2
    assert batch["labels"].tolist() == [[-100, 6, 8, -100, -100, -100]] * 2


def test_documents_learn_every_token_but_pads() -> None:
    batch = DocumentCollator(pad_token_id=9)([{"input_ids": [5, 9, 7]}, {"input_ids": [8]}])
    assert batch["input_ids"].tolist() == [[5, 9, 7], [8, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[5, -100, 7], [8, -100, -100]], "as LLaMA-Factory: also a 9 inside a document"


def test_a_blank_document_teaches_nothing() -> None:
    batch = DocumentCollator(pad_token_id=9)([{"input_ids": [5, 6], "labels": [-100, -100]}])
    assert batch["labels"].tolist() == [[-100, -100]]
