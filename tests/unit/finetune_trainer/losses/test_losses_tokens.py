"""Losses of single tokens, against what LLaMA-Factory 0.9.5 and transformers 5.6.0 make of the same tensors.

Their figures were made once, in LLaMA-Factory's own environment, with `train/trainer_utils.py` (dft_loss_func,
eaft_loss_func, asft_loss_func), `train/sft/metric.py` and `LabelSmoother`, for logits and labels as below.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import pytest
import torch

from finetune_trainer.losses import tokens
from finetune_trainer.stages.token_mean import row_accuracy

LABELS = torch.tensor([[-100, -100, 3, 17, 5], [-100, 9, 0, -100, -100]])
COUNT = 7
"""Learned tokens of the whole global batch, of which five are here."""


@pytest.fixture
def logits() -> torch.Tensor:
    """Of the model: [2, 5, 24]."""
    return torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(11)) * 2


@pytest.fixture
def reference() -> torch.Tensor:
    """Of the frozen model, drawn after the model's."""
    generator = torch.Generator().manual_seed(11)
    torch.randn(2, 5, 24, generator=generator)
    return torch.randn(2, 5, 24, generator=generator) * 2


@pytest.mark.parametrize(
    ("loss", "count", "theirs"),
    [
        (tokens.dft, COUNT, 0.05525841563940048),
        (tokens.dft, 5, 0.07736177742481232),
        (functools.partial(tokens.eaft, alpha=0.5), COUNT, 2.4287827014923096),
        (functools.partial(tokens.eaft, alpha=1.0), COUNT, 1.9057838916778564),
        (functools.partial(tokens.eaft, alpha=2.0), COUNT, 1.2410438060760498),
        (functools.partial(tokens.smoothed, epsilon=0.1), 5, 4.503115653991699),
        (functools.partial(tokens.smoothed, epsilon=0.3), 5, 4.609511852264404),
    ],
)
def test_as_llamafactory(
    logits: torch.Tensor,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    count: int,
    theirs: float,
) -> None:
    assert float(loss(*tokens.learned(logits, LABELS)).sum() / count) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize(("alpha", "theirs"), [(0.1, 0.4046562910079956), (0.5, 1.713834285736084)])
def test_asft_as_llamafactory(logits: torch.Tensor, reference: torch.Tensor, alpha: float, theirs: float) -> None:
    held, _ = tokens.learned(reference, LABELS)
    found = tokens.asft(*tokens.learned(logits, LABELS), held, alpha=alpha)
    assert float(found.mean()) == pytest.approx(theirs, rel=1e-6)


def test_accuracy_as_llamafactory(logits: torch.Tensor) -> None:
    labels = torch.tensor([[-100, -100, 3, 22, 5], [-100, 11, 0, -100, -100]])
    shares, rows = row_accuracy(logits, labels)
    assert float(shares.mean()) == pytest.approx(0.41666666666666663)  # a third and a half: rows, not tokens
    assert rows.tolist() == [1, 1]
    assert row_accuracy(logits, torch.full_like(labels, -100))[1].tolist() == [0, 0]


def test_the_first_label_is_never_predicted(logits: torch.Tensor) -> None:
    chosen, targets = tokens.learned(logits, torch.tensor([[4, 3, -100, -100, -100]] * 2))
    assert targets.tolist() == [3, 3]
    assert torch.equal(chosen, logits[:, 0])


@pytest.mark.parametrize(
    "loss",
    [
        tokens.cross_entropy,
        tokens.dft,
        functools.partial(tokens.eaft, alpha=1.0),
        functools.partial(tokens.smoothed, epsilon=0.1),
        lambda logits, targets: tokens.asft(logits, targets, logits, alpha=0.1),
    ],
)
def test_nothing_learned_gives_a_zero_with_a_gradient(
    logits: torch.Tensor, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> None:
    logits.requires_grad_()
    total = loss(*tokens.learned(logits, torch.full((2, 5), -100))).sum()
    total.backward()
    assert float(total) == 0
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) == 0


def test_dft_weighs_by_the_tokens_own_probability_without_a_gradient() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)]], requires_grad=True)  # p = 1/4, 3/4
    tokens.dft(logits, torch.tensor([0])).sum().backward()
    assert logits.grad is not None
    assert logits.grad.tolist()[0] == pytest.approx([-0.25 * 0.75, 0.25 * 0.75])


def test_eaft_learns_nothing_of_what_the_model_is_sure_of() -> None:
    sure = torch.full((1, 30), -50.0)
    sure[0, 7] = 50.0
    assert float(tokens.eaft(sure, torch.tensor([3]), alpha=1.0)) == pytest.approx(0.0, abs=1e-6)
    even = tokens.eaft(torch.zeros(1, 30), torch.tensor([3]), alpha=1.0)
    assert float(even) == pytest.approx(math.log(30) * math.log(20) / 3)


def test_asft_holds_to_the_reference() -> None:
    logits, far = torch.zeros(1, 4, requires_grad=True), torch.tensor([[3.0, 0.0, 0.0, 0.0]])
    near = tokens.asft(logits, torch.tensor([1]), logits.detach(), alpha=1.0)
    assert torch.equal(near, tokens.dft(logits, torch.tensor([1])))
    tokens.asft(logits, torch.tensor([1]), far, alpha=10.0).sum().backward()
    assert logits.grad is not None
    assert int(logits.grad.argmin()) == 0, "towards what the reference holds for likely"
