"""Losses on pairs of answers, one number for each pair; stage dpo.

Log-probabilities are of whole answers: sums over tokens, or means for ipo, orpo and simpo. `chosen` and `rejected` are
float [pairs]; ratios are the model's log-probabilities less those of the reference.
"""

from __future__ import annotations

import torch
from torch.nn import functional


def sigmoid(margins: torch.Tensor, *, beta: float, smoothing: float = 0.0) -> torch.Tensor:
    """DPO (arXiv 2305.18290, equation 7); with smoothing cDPO: that share of pairs is the wrong way round.

    Args:
        margins: float [pairs], chosen ratio less rejected ratio.
        beta: how strongly the model is held near the reference.
        smoothing: 0 to below 0.5.
    """
    right, wrong = functional.logsigmoid(beta * margins), functional.logsigmoid(-beta * margins)
    return -(1 - smoothing) * right - smoothing * wrong


def hinge(margins: torch.Tensor, *, beta: float) -> torch.Tensor:
    """SLiC's hinge (arXiv 2305.10425) on DPO's margin (2309.06657): nothing is gained above 1 / beta."""
    return torch.relu(1 - beta * margins)


def ipo(margins: torch.Tensor, *, beta: float) -> torch.Tensor:
    """IPO (arXiv 2310.12036, equation 17): the margin of mean log-ratios shall be 1 / (2 beta), not more."""
    return (margins - 1 / (2 * beta)) ** 2


def kto_pair(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    *,
    beta: float,
    chosen_level: float,
    rejected_level: float,
) -> torch.Tensor:
    """KTO on pairs (arXiv 2402.01306, equation 8, as trl <= 0.9 had it): the mean of a pair's two losses.

    Each half is measured against the level of the other half, which carries no gradient, as the paper says.

    Args:
        chosen: ratios of chosen answers.
        rejected: ratios of rejected answers.
        beta: how strongly the model is held near the reference.
        chosen_level: mean ratio of the global batch's chosen answers, at least 0: an estimate of the divergence.
        rejected_level: the same of its rejected answers.
    """
    wanted = 1 - torch.sigmoid(beta * (chosen - rejected_level))
    unwanted = 1 - torch.sigmoid(beta * (chosen_level - rejected))
    return (wanted + unwanted) / 2


def odds_ratio(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """ORPO's second term (arXiv 2403.07691, equation 7), from mean log-probabilities."""
    log_odds = (chosen - rejected) - (torch.log1p(-chosen.exp()) - torch.log1p(-rejected.exp()))
    return -functional.logsigmoid(log_odds)


def simpo(chosen: torch.Tensor, rejected: torch.Tensor, *, beta: float, gamma: float) -> torch.Tensor:
    """SimPO (arXiv 2405.14734, equation 6), from mean log-probabilities: a margin of gamma without a reference."""
    return -functional.logsigmoid(beta * (chosen - rejected) - gamma)


def bco(chosen: torch.Tensor, rejected: torch.Tensor, *, beta: float, baseline: float) -> torch.Tensor:
    """BCO (arXiv 2404.04656, equation 12): a classifier tells chosen from rejected by their rewards, beta * ratio.

    Args:
        chosen: ratios of chosen answers.
        rejected: ratios of rejected answers.
        beta: how strongly the model is held near the reference.
        baseline: running mean of all rewards.
    """
    return -functional.logsigmoid(beta * chosen - baseline) - functional.logsigmoid(baseline - beta * rejected)
