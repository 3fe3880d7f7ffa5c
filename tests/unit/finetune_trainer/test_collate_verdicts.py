"""Batches of single answers with a verdict."""

from __future__ import annotations

from typing import Any

import torch

from finetune_trainer.collate import VerdictCollator, tokens

COLLATE = VerdictCollator(pad_token_id=9, pad_to_multiple_of=4)


def row(length: int, other: int, *, liked: int, **more: Any) -> dict[str, Any]:
    """Ids that count up, of which the last is learned."""
    return {
        "input_ids": list(range(length)),
        "labels": [-100] * (length - 1) + [length - 1],
        "kl_input_ids": list(range(other)),
        "kl_labels": [-100] * (other - 1) + [other - 1],
        "kto_tags": [liked],
        **more,
    }


def test_both_answers_have_a_width_of_their_own() -> None:
    batch = COLLATE([row(3, 6, liked=1), row(2, 5, liked=0)])
    assert batch["input_ids"].tolist() == [[0, 1, 2, 9], [0, 1, 9, 9]]
    assert batch["labels"].tolist() == [[-100, -100, 2, -100], [-100, 1, -100, -100]]
    assert batch["kl_input_ids"].shape == (2, 8)
    assert batch["kl_attention_mask"].sum(dim=1).tolist() == [6, 5]
    assert batch["kl_labels"][1].tolist() == [-100, -100, -100, -100, 4, -100, -100, -100]
    assert tokens(batch) == 5


def test_verdicts_and_weights() -> None:
    batch = COLLATE([row(3, 3, liked=1), row(3, 3, liked=0), row(3, 3, liked=1, weight=0)])
    assert batch["kto_tags"].tolist() == [True, False, True]
    assert batch["weight"].tolist() == [1, 1, 0]
    assert batch["weight"].dtype is torch.int64


def test_learned_pads() -> None:
    collate = VerdictCollator(pad_token_id=9, pad_to_multiple_of=4, ignore_pad_token_for_loss=False)
    batch = collate([row(3, 3, liked=1)])
    assert batch["labels"].tolist() == [[-100, -100, 2, 9]]
    assert batch["kl_labels"].tolist() == [[-100, -100, 2, 9]]
