"""Batches of pairs: chosen answers first, all of one width, blanks of no weight."""

from __future__ import annotations

import torch

from finetune_trainer.collate import PairCollator, tokens
from finetune_trainer.stages.order import WithBlank

SHORT = {"chosen_input_ids": [5, 6], "chosen_labels": [-100, 6]}
SHORT |= {"rejected_input_ids": [5, 7, 8], "rejected_labels": [-100, 7, 8]}
LONG = {"chosen_input_ids": [1, 2, 3, 4, 5], "chosen_labels": [-100, 2, 3, 4, 5]}
LONG |= {"rejected_input_ids": [1, 9], "rejected_labels": [-100, 9]}


def test_the_rejected_half_follows_the_chosen_one_in_the_same_order() -> None:
    batch = PairCollator(pad_token_id=0, pad_to_multiple_of=6)([SHORT, LONG])
    assert batch["input_ids"].tolist() == [
        [5, 6, 0, 0, 0, 0],
        [1, 2, 3, 4, 5, 0],
        [5, 7, 8, 0, 0, 0],
        [1, 9, 0, 0, 0, 0],
    ]
    assert batch["attention_mask"].sum(1).tolist() == [2, 5, 3, 2]
    assert batch["labels"][2].tolist() == [-100, 7, 8, -100, -100, -100]
    assert batch["weight"].tolist() == [1, 1]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}
    assert tokens(batch) == 12


def test_a_blank_pair_weighs_nothing_and_teaches_nothing() -> None:
    rows = WithBlank([SHORT, LONG])
    batch = PairCollator(pad_token_id=0)([rows[1], rows[2]])
    assert batch["weight"].tolist() == [1, 0]
    assert bool((batch["labels"][[1, 3]] == -100).all())


def test_pads_can_be_learned_as_in_llamafactory() -> None:
    batch = PairCollator(pad_token_id=0, pad_to_multiple_of=4, ignore_pad_token_for_loss=False)([SHORT])
    assert batch["labels"].tolist() == [[-100, 6, 0, 0], [-100, 7, 8, 0]]
