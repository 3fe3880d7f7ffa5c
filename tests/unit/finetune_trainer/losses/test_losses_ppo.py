"""PPO's formulas against the numbers that trl 0.9.6 computes for the same tensors.

Made with trl 0.9.6's own functions (PPOTrainer.compute_rewards, compute_advantages, loss; AdaptiveKLController;
RunningMoments), taken out of its wheel and run with its default settings.
"""

from __future__ import annotations

import pytest
import torch

from finetune_trainer.losses import ppo

SCORES = torch.tensor([1.0, -0.5, 2.0])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])
LOGPROBS = torch.tensor(
    [
        [-0.803276, -0.174833, -0.088978, -0.613718],
        [-0.046182, -1.368259, -0.337495, -1.011116],
        [-1.435179, -0.977432, -0.52205, -1.237917],
    ]
)
REFERENCE = torch.tensor(
    [
        [-1.062667, -0.085145, 0.036788, -0.637674],
        [0.231741, -1.123556, -0.188938, -1.060411],
        [-1.638568, -1.295164, -0.297741, -1.166242],
    ]
)
VALUES = torch.tensor(
    [
        [-0.39215, 0.151915, -1.183733, 0.534361],
        [-1.451023, -0.629374, 0.154415, -0.24799],
        [0.453501, 0.012091, 1.342036, 1.462004],
    ]
)
NOW = torch.tensor(
    [
        [-0.694236, 0.07942, -0.63711, -0.560635],
        [-0.281057, -1.449154, -0.601173, -0.805173],
        [-1.566942, -0.77475, -0.723198, -1.500433],
    ]
)
VALUES_NOW = torch.tensor(
    [
        [-0.425046, 0.257805, -1.317144, 0.249097],
        [-1.467881, -1.061241, -0.209571, 0.080412],
        [0.304796, 0.239387, 1.138305, 1.713682],
    ]
)
REWARDS = torch.tensor(
    [
        [-0.051878, 0.017938, 0.025153, 0.995209],
        [0.055585, -0.451059, 0.0, 0.0],
        [-0.040678, -0.063546, 2.044862, 0.0],
    ]
)
ADVANTAGES = torch.tensor(
    [
        [0.178058, -0.511127, 1.65249, -0.956117],
        [-0.067804, -1.384565, 0.0, 0.0],
        [0.400262, 1.277972, -0.589169, 0.0],
    ]
)
RETURNS = torch.tensor(
    [
        [0.816612, 0.906205, 0.997319, 0.995209],
        [-0.40439, -0.451059, 0.0, 0.0],
        [1.808792, 1.946174, 2.044862, 0.0],
    ]
)
WHITENED_ADVANTAGES = torch.tensor(
    [
        [0.250866, -0.018136, 1.327052, -0.070391],
        [-0.35618, -1.061657, -1.760254, -1.379889],
        [0.740667, 1.386521, 0.472097, 0.469303],
    ]
)
WHITENED_RETURNS = torch.tensor(
    [
        [0.841401, 1.077018, 1.283815, 1.399545],
        [-0.913534, -0.900814, -0.918064, -0.884327],
        [2.248677, 2.54783, 2.829259, 2.946024],
    ]
)


def near(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=5e-6, rtol=0)


def test_rewards_and_advantages_are_those_of_trl() -> None:
    rewards = ppo.token_rewards(SCORES, LOGPROBS - REFERENCE, MASK, 0.2)
    near(rewards, REWARDS)
    advantages = ppo.advantages(rewards, VALUES, MASK)
    near((advantages + VALUES) * MASK, RETURNS)
    near(ppo.whiten(advantages, MASK), ADVANTAGES)


def test_whitened_rewards_are_those_of_trl_where_nothing_is_padded() -> None:
    full = torch.ones_like(MASK)
    rewards = ppo.whiten(ppo.token_rewards(SCORES, LOGPROBS - REFERENCE, full, 0.2), full, shift_mean=False)
    advantages = ppo.advantages(rewards, VALUES, full)
    near(ppo.whiten(advantages, full), WHITENED_ADVANTAGES)
    near(advantages + VALUES, WHITENED_RETURNS)


@pytest.mark.parametrize("whiten", [False, True])
def test_no_advantage_depends_on_how_far_answers_are_padded(whiten: bool) -> None:
    def advantages(pads: int) -> torch.Tensor:
        mask, divergence, values = (
            torch.nn.functional.pad(tensor, (0, pads)) for tensor in (MASK, LOGPROBS - REFERENCE, VALUES)
        )
        rewards = ppo.token_rewards(SCORES, divergence, mask, 0.2)
        rewards = ppo.whiten(rewards, mask, shift_mean=False) if whiten else rewards
        return ppo.advantages(rewards, values, mask)[:, : MASK.shape[1]]

    near(advantages(0), advantages(3))


def test_losses_are_those_of_trl() -> None:
    found = ppo.clipped(
        logprobs=NOW,
        values=VALUES_NOW,
        old_logprobs=LOGPROBS,
        old_values=VALUES * MASK,
        advantage=ADVANTAGES,
        returns=RETURNS,
    )
    count = MASK.sum()
    assert float((found.policy * MASK).sum() / count) == pytest.approx(0.049132928, abs=2e-6)
    assert float((found.value * MASK).sum() / count) == pytest.approx(0.859432667, abs=2e-6)
    assert float((found.was_clipped * MASK).sum() / count) == pytest.approx(2 / 9)


def test_a_ratio_beyond_the_reach_earns_nothing_more() -> None:
    logprobs = torch.tensor([0.5, -0.5], requires_grad=True)
    still = torch.zeros(2)
    found = ppo.clipped(
        logprobs=logprobs,
        values=still,
        old_logprobs=still,
        old_values=still,
        advantage=torch.tensor([1.0, -1.0]),
        returns=still,
    )
    found.policy.sum().backward()  # type: ignore[no-untyped-call]
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [0.0, 0.0]


def test_the_penalty_moves_as_trls() -> None:
    penalty, found = ppo.AdaptivePenalty(target=6.0), []
    for divergence, answers in ((10.0, 8), (5.5, 8), (0.0, 64)):
        penalty = penalty.after(divergence, answers)
        found.append(penalty.value)
    assert found == pytest.approx([0.200032, 0.20001866453333333, 0.19976264064273067], abs=1e-12)


def test_a_target_of_zero_lets_the_penalty_grow_with_any_divergence() -> None:
    penalty = ppo.AdaptivePenalty(target=0.0)
    assert penalty.after(0.1, 1000).value == pytest.approx(0.2 * 1.02)
    assert penalty.after(0.0, 1000).value == 0.2


def test_moments_are_those_of_trl() -> None:
    first = ppo.Moments().after(torch.tensor([1.0, 2.0, 4.0]))
    second = first.after(torch.tensor([0.0, -3.0]))
    for moments, mean, deviation in ((first, 7 / 3, 1.5275253057479858), (second, 0.8, 2.5884358882904053)):
        assert moments.mean == pytest.approx(mean)
        assert float(moments.normalised(torch.tensor(mean + deviation))) == pytest.approx(1.0, abs=1e-5)


def test_a_single_score_is_zero_by_itself() -> None:
    score = torch.tensor([5.0])
    assert ppo.Moments().after(score).normalised(score).tolist() == [0.0]
