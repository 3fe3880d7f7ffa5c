"""KTO: single answers, each liked or disliked, weighed against how far the model has moved from its reference.

Source: Ethayarajh et al. 2024, arXiv 2402.01306, equations 7 and 8; trl 0.24, trainer/kto_trainer.py (`kto_loss`).
Ratios are log-probabilities of whole answers under the model less those under the reference.
"""

from __future__ import annotations

import torch


def divergence(ratios: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """Estimate of the KL divergence from the reference, by answers to other questions; never below zero.

    Args:
        ratios: float [], their sum over the global batch.
        answers: float [], how many there are.

    Returns:
        float [], no gradient.
    """
    return (ratios / answers.clamp(min=1.0)).clamp(min=0.0).detach()


def verdict_losses(
    ratios: torch.Tensor,
    liked: torch.Tensor,
    *,
    level: torch.Tensor,
    beta: float,
    weights: tuple[float, float],
) -> torch.Tensor:
    """Loss of each answer: liked ones shall lie above the level, disliked ones below.

    Args:
        ratios: float [rows].
        liked: bool [rows].
        level: float [], the divergence.
        beta: how strongly the model is held near the reference.
        weights: of liked and of disliked answers.

    Returns:
        float [rows].
    """
    above = beta * (ratios - level)
    return torch.where(liked, weights[0] * (1 - torch.sigmoid(above)), weights[1] * (1 - torch.sigmoid(-above)))
