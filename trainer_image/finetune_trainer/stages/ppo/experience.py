"""What a step learns from: all answers of all ranks, and how well each of their tokens did. The same on every rank."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from finetune_trainer.collate import Batch, Collator
from finetune_trainer.examples import IGNORE_INDEX
from finetune_trainer.losses import ppo

NOBODY = -1
"""The number of a row that fills up a micro batch and teaches nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A prompt and its answer, as it was when it was generated; on the CPU, so that ranks can tell each other."""

    place: int
    """Of the prompt among those of the step, over all ranks."""
    ids: Sequence[int]
    """Prompt and answer."""
    prompt: int
    """Tokens of the prompt."""
    logprobs: torch.Tensor
    """Float32 [tokens of the answer], as `divergence` and `values`."""
    divergence: torch.Tensor
    """Log probability less the reference's."""
    values: torch.Tensor
    """Expected before each token."""
    score: float


def stack(rows: Sequence[tuple[Sequence[int], int]], pad: int) -> Batch:
    """Ids and the length of their prompt, as a batch of conversations in which the answers are learned."""
    labelled = [{"input_ids": ids, "labels": [IGNORE_INDEX] * prompt + list(ids[prompt:])} for ids, prompt in rows]
    return Collator(pad_token_id=pad)(labelled)


@dataclass(frozen=True, kw_only=True, slots=True)
class Experience:
    """Answers by number; all tensors are float32 [answers, tokens of the longest answer], on the CPU."""

    answers: Sequence[Answer]
    mask: torch.Tensor
    """1 on tokens."""
    logprobs: torch.Tensor
    values: torch.Tensor
    advantages: torch.Tensor
    """Whitened."""
    returns: torch.Tensor

    def batch(self, numbers: Sequence[int], pad: int) -> Batch:
        """A micro batch, and under `numbers` whose rows they are, int64 [rows]; NOBODY's row is a single pad."""
        nobody = ([pad], 1)
        rows = [nobody if at == NOBODY else (self.answers[at].ids, self.answers[at].prompt) for at in numbers]
        return {**stack(rows, pad), "numbers": torch.tensor(list(numbers), dtype=torch.long)}

    def tokens_of(self, numbers: torch.Tensor) -> dict[str, torch.Tensor]:
        """The named tensors at the tokens of these answers, one after the other: float32 [tokens], on their device."""
        rows = numbers[numbers != NOBODY].cpu()
        chosen = self.mask[rows].bool()
        named = {
            "old_logprobs": self.logprobs,
            "old_values": self.values,
            "advantage": self.advantages,
            "returns": self.returns,
        }
        return {name: tensor[rows][chosen].to(numbers.device) for name, tensor in named.items()}


def judge(answers: Sequence[Answer], scores: torch.Tensor, *, penalty: float, whiten_rewards: bool) -> Experience:
    """Rewards and advantages of all answers of a step, in float64.

    Args:
        answers: at least one.
        scores: float64 [answers], normalised where that is asked for.
        penalty: weight of the divergence.
        whiten_rewards: give rewards variance one before advantages are computed.
    """
    mask = _side_by_side([torch.ones_like(answer.logprobs) for answer in answers])
    values = _side_by_side([answer.values for answer in answers])
    rewards = ppo.token_rewards(scores, _side_by_side([answer.divergence for answer in answers]), mask, penalty)
    if whiten_rewards:
        rewards = ppo.whiten(rewards, mask, shift_mean=False)
    advantages = ppo.advantages(rewards, values, mask)
    return Experience(
        answers=answers,
        mask=mask.float(),
        logprobs=_side_by_side([answer.logprobs for answer in answers]).float(),
        values=values.float(),
        advantages=ppo.whiten(advantages, mask).float(),
        returns=(advantages + values).float(),
    )


def passes(answers: int, *, epochs: int, size: int, seed: int, step: int) -> list[list[int]]:
    """The answers' numbers for each step of the optimiser: `epochs` times all of them, each time in another order.

    Args:
        answers: how many there are.
        epochs: ppo_epochs.
        size: answers of a step of the optimiser, over all ranks.
        seed: of the run.
        step: of the run.
    """
    digest = hashlib.blake2b(f"{seed} {step}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    orders = [torch.randperm(answers, generator=generator).tolist() for _ in range(epochs)]
    return [order[start : start + size] for order in orders for start in range(0, answers, size)]


def _side_by_side(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """Float64 [rows, longest], 0 behind their ends."""
    return torch.nn.utils.rnn.pad_sequence([row.double() for row in rows], batch_first=True)
