"""PPO on generated answers: rewards for tokens, their advantages, clipped losses, and a penalty that adapts.

The numbers that LLaMA-Factory leaves to trl (0.9.6, trainer/ppo_config.py) are the defaults here.

Papers: Schulman et al. 2017 (PPO, arXiv 1707.06347), Schulman et al. 2016 (GAE, arXiv 1506.02438), Ziegler et al. 2019
(divergence as a reward, adaptive penalty, arXiv 1909.08593). Shapes: rows are answers, tokens those of the longest
answer, `mask` is 1 where an answer has a token and 0 behind its end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

FIRST_PENALTY = 0.2
"""Weight of the divergence at the beginning (trl's init_kl_coef)."""
VALUE_WEIGHT = 0.1
"""Weight of the value loss beside the policy's (trl's vf_coef)."""
LARGEST_RATIO = 10.0
"""Answers whose tokens have on average become this much likelier are left out of a step (trl's ratio_threshold)."""


def token_rewards(scores: torch.Tensor, divergence: torch.Tensor, mask: torch.Tensor, penalty: float) -> torch.Tensor:
    """What each token earns: it pays for its divergence from the reference, and the last one gets the score.

    Args:
        scores: float [rows].
        divergence: float [rows, tokens], log probability minus the reference's.
        mask: [rows, tokens], each row with at least one token.
        penalty: the weight of the divergence.

    Returns:
        float [rows, tokens], 0 behind the end.
    """
    rewards = -penalty * divergence * mask
    last = mask.long().sum(1, keepdim=True) - 1
    return rewards.scatter_add(1, last, scores.to(rewards)[:, None])


def whiten(values: torch.Tensor, mask: torch.Tensor, *, shift_mean: bool = True) -> torch.Tensor:
    """Variance one and, unless `shift_mean` is false, mean zero over the tokens of the mask; 0 outside of it.

    trl leaves what lies outside as it falls, so that with whitened rewards an answer's advantages depend on how far
    its batch is padded; here they do not.

    Args:
        values: float [rows, tokens].
        mask: [rows, tokens], at least one token.
        shift_mean: whether the mean is taken off.
    """
    count = mask.sum()
    mean = (values * mask).sum() / count
    variance = ((values - mean).square() * mask).sum() / (count - 1).clamp(min=1)
    whitened = (values - mean) * torch.rsqrt(variance + 1e-8)
    return (whitened if shift_mean else whitened + mean) * mask


def advantages(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, *, gamma: float = 1.0, decay: float = 0.95
) -> torch.Tensor:
    """Generalised advantage estimation: how much better each token did than was expected before it.

    Args:
        rewards: float [rows, tokens], 0 behind the end.
        values: float [rows, tokens], what was expected before each token.
        mask: [rows, tokens].
        gamma: what a later reward is worth.
        decay: how far an estimate looks ahead (GAE's lambda).

    Returns:
        float [rows, tokens]; with the values added, the returns that the value head learns.
    """
    values = values * mask
    after = torch.zeros_like(values[:, 0])
    following = torch.zeros_like(after)
    found = []
    for token in reversed(range(values.shape[1])):
        surprise = rewards[:, token] + gamma * following - values[:, token]
        after = surprise + gamma * decay * after
        following = values[:, token]
        found.append(after)
    return torch.stack(found[::-1], dim=1) * mask


@dataclass(frozen=True, kw_only=True, slots=True)
class Clipped:
    """For each token: the loss of the policy and of the values, and whether the policy's was clipped."""

    policy: torch.Tensor
    value: torch.Tensor
    was_clipped: torch.Tensor
    ratio: torch.Tensor
    """How much likelier the token has become since it was drawn."""


def clipped(  # noqa: PLR0913 - what is compared
    *,
    logprobs: torch.Tensor,
    values: torch.Tensor,
    old_logprobs: torch.Tensor,
    old_values: torch.Tensor,
    advantage: torch.Tensor,
    returns: torch.Tensor,
    reach: float = 0.2,
) -> Clipped:
    """PPO's clipped losses; all arguments and results are float of one shape, token by token.

    Args:
        logprobs: of the tokens now, with a gradient.
        values: expected before the tokens now, with a gradient.
        old_logprobs: when the tokens were drawn.
        old_values: expected when they were drawn.
        advantage: whitened.
        returns: what the values should have been.
        reach: how far ratio and values may move before they earn nothing more (trl's cliprange, cliprange_value).
    """
    ratio = torch.exp(logprobs - old_logprobs)
    free, held = -advantage * ratio, -advantage * ratio.clamp(1 - reach, 1 + reach)
    near = torch.minimum(torch.maximum(values, old_values - reach), old_values + reach)
    errors = torch.maximum((values - returns).square(), (near - returns).square())
    return Clipped(policy=torch.maximum(free, held), value=0.5 * errors, was_clipped=held > free, ratio=ratio)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptivePenalty:
    """The weight of the divergence, which grows while answers diverge more than `target`, and shrinks while less."""

    target: float
    value: float = FIRST_PENALTY
    horizon: float = 10_000.0
    """Answers until a divergence far off the target has moved the weight by a fifth."""

    def after(self, divergence: float, answers: int) -> AdaptivePenalty:
        """The penalty after so many answers of this mean divergence, summed over their tokens."""
        if self.target > 0:
            error = min(0.2, max(-0.2, divergence / self.target - 1))
        else:
            error = 0.2 if divergence > 0 else 0.0
        return replace(self, value=self.value * (1 + error * answers / self.horizon))


@dataclass(frozen=True, kw_only=True, slots=True)
class Moments:
    """Mean and variance of all scores so far (Chan et al.'s parallel update, as trl's RunningMoments)."""

    count: float = 0.0
    mean: float = 0.0
    variance: float = 1.0

    def after(self, scores: torch.Tensor) -> Moments:
        """With these scores, float [rows], at least one."""
        count, mean = self.count + len(scores), float(scores.mean())
        apart = mean - self.mean
        squares = (
            float((scores - mean).square().sum())
            + self.variance * self.count
            + apart**2 * self.count * len(scores) / count
        )
        return Moments(count=count, mean=self.mean + apart * len(scores) / count, variance=squares / count)

    def normalised(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores less the mean, over the unbiased deviation; a single score so far counts as a deviation of 1."""
        deviation = (self.variance * self.count / (self.count - 1)) ** 0.5 if self.count > 1 else 1.0
        return (scores - self.mean) / (deviation + torch.finfo(torch.float32).eps)
