"""Losses of single tokens: plain, smoothed, and weighed by how sure the model is (DFT, ASFT, EAFT).

All take the logits of learned tokens alone, float [tokens, vocabulary], and their labels, int64 [tokens], and give
float32 [tokens], of which a run's loss is the mean. Weights and references carry no gradient.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from finetune_trainer.examples import IGNORE_INDEX

EAFT_TOP = 20
"""Likeliest tokens whose entropy EAFT looks at."""
EAFT_SCALE = 3.0
"""Entropy that EAFT counts as one: log 20, the entropy of 20 equal chances, is nearly that."""


def learned(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The predictions of learned tokens: each token is predicted from those before it.

    Args:
        logits: [batch, sequence, vocabulary].
        labels: int64 [batch, sequence], -100 where nothing is learned.

    Returns:
        float32 [tokens, vocabulary] and int64 [tokens], both empty where nothing is learned.
    """
    labels = labels.to(logits.device)
    where = places(labels)
    return logits[where].float(), targets(labels)


def places(labels: torch.Tensor) -> torch.Tensor:
    """Where learned tokens are predicted, bool [batch, sequence]: one place before each."""
    return functional.pad(labels[:, 1:].ne(IGNORE_INDEX), (0, 1))


def targets(labels: torch.Tensor) -> torch.Tensor:
    """The learned tokens, int64 [tokens], in the order of `places`."""
    following = labels[:, 1:]
    return following[following.ne(IGNORE_INDEX)]


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """-log p(target)."""
    return functional.cross_entropy(logits, targets, reduction="none")


def smoothed(logits: torch.Tensor, targets: torch.Tensor, *, epsilon: float) -> torch.Tensor:
    """(1 - epsilon) * cross entropy + epsilon * the mean of -log p over the whole vocabulary.

    Source: transformers, trainer_pt_utils.py (`LabelSmoother`), https://arxiv.org/abs/1512.00567.
    """
    log_p = functional.log_softmax(logits, dim=-1)
    right = -log_p.gather(-1, targets[:, None])[:, 0]
    return (1 - epsilon) * right - epsilon * log_p.mean(dim=-1)


def dft(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy times p(target): what the model holds for unlikely is learned less.

    Source: https://arxiv.org/abs/2508.05629; LLaMA-Factory, train/trainer_utils.py (`dft_loss_func`).
    """
    loss = cross_entropy(logits, targets)
    return loss * torch.exp(-loss.detach())


def asft(logits: torch.Tensor, targets: torch.Tensor, reference: torch.Tensor, *, alpha: float) -> torch.Tensor:
    """DFT + alpha * KL(reference || model): learned as DFT does, but held near the reference.

    Args:
        logits: of the model that is trained.
        targets: labels.
        reference: logits of the frozen model for the same tokens, [tokens, vocabulary].
        alpha: weight of the KL divergence.

    Source: https://arxiv.org/abs/2509.23753; LLaMA-Factory, train/trainer_utils.py (`asft_loss_func`).
    """
    log_p = functional.log_softmax(logits, dim=-1)
    q = functional.softmax(reference.detach().float(), dim=-1)
    return dft(logits, targets) + alpha * functional.kl_div(log_p, q, reduction="none").sum(dim=-1)


def eaft(logits: torch.Tensor, targets: torch.Tensor, *, alpha: float) -> torch.Tensor:
    """Cross entropy times (entropy of the 20 likeliest tokens / 3) ** alpha: what the model is sure of counts little.

    Source: https://arxiv.org/abs/2601.02151; LLaMA-Factory, train/trainer_utils.py (`eaft_loss_func`).
    """
    with torch.no_grad():
        top = logits.topk(min(EAFT_TOP, logits.shape[-1]), dim=-1).values
        log_p = functional.log_softmax(top, dim=-1)
        entropy = -(log_p.exp() * log_p).sum(dim=-1)
        weights = (entropy / EAFT_SCALE).pow(alpha)
    return cross_entropy(logits, targets) * weights
