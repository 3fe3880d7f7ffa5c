"""KTO's formula against trl 0.24.

The numbers come from `KTOTrainer.kto_loss` of trl 0.24.0, torch 2.13, float32, called with beta 0.1, desirable_weight
1.5, undesirable_weight 0.5, and the log-probabilities below.
"""

from __future__ import annotations

import pytest
import torch

from finetune_trainer.losses import kto

POLICY = torch.tensor([-3.0, -12.5, -7.25, -1.0, -20.0])
REFERENCE = torch.tensor([-4.0, -12.0, -9.0, -0.5, -14.0])
LIKED = torch.tensor([True, False, True, False, True])
OTHERS = torch.tensor([-5.0, -6.0, -2.0, -8.0, -3.0])


def losses(level: float, liked: torch.Tensor = LIKED) -> torch.Tensor:
    """Of the answers above."""
    return kto.verdict_losses(POLICY - REFERENCE, liked, level=torch.tensor(level), beta=0.1, weights=(1.5, 0.5))


@pytest.mark.parametrize(
    ("reference", "level", "expected"),
    [
        ([-6.5, -6.0, -4.0, -7.0, -6.0], 1.1, [0.75375, 0.2300425, 0.7256336, 0.2300425, 1.0056018]),
        ([-4.0, -3.0, -2.0, -7.0, -1.0], 0.0, [0.7125312, 0.2437513, 0.6845419, 0.2437513, 0.9684844]),
    ],
    ids=["moved", "below zero"],
)
def test_as_trl(reference: list[float], level: float, expected: list[float]) -> None:
    ratios = OTHERS - torch.tensor(reference)
    found = kto.divergence(ratios.sum(), torch.tensor(5.0))
    assert float(found) == pytest.approx(level)
    torch.testing.assert_close(losses(float(found)), torch.tensor(expected))


def test_one_kind_alone_as_trl() -> None:
    all_liked = [0.7125312, 0.768746, 0.6845419, 0.768746, 0.9684844]
    all_disliked = [0.2624896, 0.2437513, 0.2718194, 0.2437513, 0.1771719]
    torch.testing.assert_close(losses(0.0, torch.ones(5, dtype=torch.bool)), torch.tensor(all_liked))
    torch.testing.assert_close(losses(0.0, torch.zeros(5, dtype=torch.bool)), torch.tensor(all_disliked))


def test_no_answers_no_divergence() -> None:
    assert float(kto.divergence(torch.zeros(()), torch.zeros(()))) == 0.0


def test_gradients_push_apart_and_leave_the_level_alone() -> None:
    ratios = torch.zeros(2, requires_grad=True)
    level = torch.zeros((), requires_grad=True)
    found = kto.divergence(level, torch.tensor(1.0))
    kto.verdict_losses(ratios, torch.tensor([True, False]), level=found, beta=0.1, weights=(1.0, 1.0)).sum().backward()
    assert ratios.grad is not None
    assert ratios.grad[0] < 0 < ratios.grad[1]
    assert level.grad is None
