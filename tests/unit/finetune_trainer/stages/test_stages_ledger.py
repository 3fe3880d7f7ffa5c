"""Losses that are not finite: found without looking at each one, and their rows named."""

from __future__ import annotations

import math

import pytest
import torch
from tests.tiny_model import TOKENIZER
from transformers import AutoTokenizer

from finetune_trainer.stages import ledger
from finetune_trainer.stages.ledger import Ledger
from finetune_trainer.stages.order import GlobalBatches, Order, Split

BATCH = {"input_ids": torch.tensor([[5, 6, 0], [7, 8, 9]]), "attention_mask": torch.tensor([[1, 1, 0], [1, 1, 1]])}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_bad_loss_is_found(bad: float) -> None:
    book = Ledger()
    for number in range(4):
        book.drawn(number // 2 + 1, (0, number), BATCH)
    for loss in (1.0, 2.0, bad):
        book.done(torch.tensor(loss))
    found = book.look()
    assert found is not None
    assert (found.step, found.place, found.ids) == (2, (0, 2), ((5, 6), (7, 8, 9)))
    book.done(torch.tensor(3.0))
    assert book.look() is None, "the fourth is a sound one"


def test_sound_losses_are_forgotten() -> None:
    book = Ledger()
    assert not book.is_due()
    book.drawn(1, (0, 0), BATCH)
    book.done(torch.tensor(1.0, requires_grad=True))
    assert book.is_due(), "on a CPU looking costs nothing"
    assert book.look() is None
    assert not book.is_due()


def test_elsewhere_looking_waits() -> None:
    book = Ledger()
    for number in range(ledger.PENDING):
        assert not book.is_due()
        book.drawn(1, (0, number), BATCH)
        book.done(torch.empty((), device="meta"))
    assert book.is_due()


def test_rows_are_named_by_number_and_text() -> None:
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    ids = [tuple(tokenizer(text)["input_ids"]) for text in ("green river", "stone")]
    told = ledger.words(ledger.Ruined(7, math.nan, (0, 3), tuple(ids)), [41, 12], tokenizer)
    assert told.startswith("the loss is nan at step 7, in a micro batch of row 41: ")
    assert "green river" in told
    assert "row 12: " in told
    assert "smaller learning_rate" in told
    streamed = ledger.words(ledger.Ruined(7, math.nan, (0, 3), tuple(ids)), [], tokenizer)
    assert "row" not in streamed.replace("rows", "")
    assert "green river" in streamed


def test_the_rows_of_any_ranks_micro_batch() -> None:
    split = Split(batch_size=2, rank=0, ranks=2)
    batches = GlobalBatches(7, Order(seed=1), split)
    batches.epoch = 3
    assert batches.rows_of(3, 1, rank=0) == [row for row in list(batches)[1] if row < 7]
    every = [batches.rows_of(3, number, rank=rank) for number in range(2) for rank in range(2)]
    assert sorted(row for rows in every for row in rows) == list(range(7))


def test_weights_that_are_not_finite() -> None:
    model = torch.nn.Linear(2, 2)
    assert ledger.finite(model)
    with torch.no_grad():
        model.weight[0, 0] = math.nan
    assert not ledger.finite(model)
    model.weight.requires_grad_(False)
    assert ledger.finite(model), "frozen ones are as they came"


def test_the_advice_is_short() -> None:
    many = ledger.Ruined(1, math.inf, (0, 0), ((5,),) * 20)
    told = ledger.words(many, list(range(20)), AutoTokenizer.from_pretrained(TOKENIZER))
    assert "and 12 more" in told
