"""Losses on pairs against numbers that trl 0.24 computes (LLaMA-Factory 0.9.5's trl), and against the formulas."""

from __future__ import annotations

import math

import pytest
import torch

from finetune_trainer.losses import preference
from finetune_trainer.losses.answers import common_length, token_logps

CHOSEN = torch.tensor([-12.5, -30.0, -7.25, -18.0]) - torch.tensor([-13.0, -28.5, -9.0, -17.0])
REJECTED = torch.tensor([-14.0, -22.0, -7.5, -40.0]) - torch.tensor([-13.5, -25.0, -6.0, -35.0])
MEAN_CHOSEN = torch.tensor([-0.5, -1.25, -2.0, -0.125])
MEAN_REJECTED = torch.tensor([-0.75, -1.0, -3.5, -0.25])
TRL: dict[str, tuple[torch.Tensor, list[float]]] = {
    # DPOTrainer.dpo_loss of trl 0.24.0, beta 0.1, by loss_type
    "sigmoid": (
        preference.sigmoid(CHOSEN - REJECTED, beta=0.1),
        [0.6443966627, 0.9432489872, 0.5437926054, 0.5130152702],
    ),
    "sigmoid, label_smoothing 0.2": (
        preference.sigmoid(CHOSEN - REJECTED, beta=0.1, smoothing=0.2),
        [0.6643967032, 0.8532490134, 0.6087926626, 0.5930152535],
    ),
    "hinge": (preference.hinge(CHOSEN - REJECTED, beta=0.1), [0.9, 1.45, 0.675, 0.6]),
    "ipo": (preference.ipo(CHOSEN - REJECTED, beta=0.1), [16.0, 90.25, 3.0625, 1.0]),
    "bco_pair, running mean -0.053125": (
        preference.bco(CHOSEN, REJECTED, beta=0.1, baseline=-0.053125),
        [1.3376243114, 1.6279737949, 1.2314580679, 1.2113261223],
    ),
    # ORPOTrainer.odds_ratio_loss of trl 0.24.0, beta 0.1
    "orpo": (
        -0.1 * preference.odds_ratio(MEAN_CHOSEN, MEAN_REJECTED),
        [-0.0457912721, -0.0895811096, -0.0181438047, -0.0384439416],
    ),
    # CPOTrainer.cpo_loss of trl 0.24.0, loss_type simpo, beta 2, simpo_gamma 0.5
    "simpo": (
        preference.simpo(MEAN_CHOSEN, MEAN_REJECTED, beta=2.0, gamma=0.5),
        [0.6931471825, 1.3132617474, 0.0788897350, 0.8259394169],
    ),
}


@pytest.mark.parametrize("name", TRL)
def test_as_trl_computes_it(name: str) -> None:
    ours, theirs = TRL[name]
    torch.testing.assert_close(ours, torch.tensor(theirs))


def test_kto_pair_is_the_formula() -> None:
    """Equation 8 of arXiv 2402.01306 with one rejected answer for each chosen one; no trl has it any more."""
    ours = preference.kto_pair(CHOSEN, REJECTED, beta=0.1, chosen_level=0.4, rejected_level=1.5)
    for loss, chosen, rejected in zip(ours.tolist(), CHOSEN.tolist(), REJECTED.tolist(), strict=True):
        wanted = 1 - 1 / (1 + math.exp(-0.1 * (chosen - 1.5)))
        unwanted = 1 - 1 / (1 + math.exp(-0.1 * (0.4 - rejected)))
        assert loss == pytest.approx((wanted + unwanted) / 2)


LABELS = torch.tensor([[-100, -100, 1, 2, 0], [-100, 2, -100, -100, -100], [-100, -100, 2, -100, -100], [-100] * 5])


def test_log_probabilities_are_those_of_learned_tokens() -> None:
    logits = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    logps = token_logps(logits, LABELS)
    assert logps.shape == (4, 4)
    assert bool((logps[LABELS[:, 1:] == -100] == 0).all())
    expected = logits[0, 2].log_softmax(-1)[2]
    torch.testing.assert_close(logps[0, 2], expected)


def test_log_probabilities_have_the_gradient_of_a_plain_softmax() -> None:
    logits = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (ours,) = torch.autograd.grad(token_logps(logits, LABELS).sum(), logits)
    learned = LABELS[:, 1:] != -100
    plain = logits[:, :-1].log_softmax(-1).gather(2, LABELS[:, 1:].clamp(min=0)[..., None])[..., 0]
    (theirs,) = torch.autograd.grad(plain[learned].sum(), logits)
    torch.testing.assert_close(ours, theirs)


def test_half_precision_logits_are_summed_in_full() -> None:
    logits = torch.randn(1, 3, 4000, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.tensor([[-100, 7, 9]])
    exact = logits[:, :-1].double().log_softmax(-1)[0, [0, 1], [7, 9]]
    torch.testing.assert_close(token_logps(logits, labels)[0].double(), exact, atol=1e-5, rtol=0)


def test_the_common_length_ends_where_the_shorter_answer_does() -> None:
    """Pair 0: three tokens against one; pair 1: one against none."""
    expected = [[False, True, False, False], [False] * 4, [False, True, False, False], [False] * 4]
    assert common_length(LABELS).tolist() == expected
