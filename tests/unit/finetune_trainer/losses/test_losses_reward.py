"""Reward modelling's formula on fixed tensors; LLaMA-Factory 0.9.5, train/rm/trainer.py, torch 2.13, float32."""

from __future__ import annotations

import torch

from finetune_trainer.losses import reward


def test_the_score_is_the_value_at_the_last_token() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0, 9.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 9.0, 9.0]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]])
    assert reward.last_values(values, mask).tolist() == [3.0, 7.0, 8.0]


def test_a_row_of_pads_alone_has_a_score() -> None:
    assert reward.last_values(torch.tensor([[5.0, 6.0]]), torch.tensor([[0, 0]])).tolist() == [5.0]


def test_pair_losses() -> None:
    chosen, rejected = torch.tensor([1.0, -0.5, 3.0]), torch.tensor([0.5, 0.5, -2.0])
    expected = torch.tensor([0.4740769863128662, 1.3132617473602295, 0.006715348456054926])
    torch.testing.assert_close(reward.pair_losses(chosen, rejected), expected)


def test_small_differences_of_half_precision_scores_count() -> None:
    losses = reward.pair_losses(torch.tensor([4.0]).bfloat16(), torch.tensor([3.984375]).bfloat16())
    assert losses.dtype is torch.float32
    torch.testing.assert_close(losses, torch.tensor([0.6853652]))
