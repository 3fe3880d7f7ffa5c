"""PPO's objective: clipped losses of policy and values, their mean over all tokens of a step of the optimiser."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from finetune_trainer.collate import Batch
from finetune_trainer.distributed import World
from finetune_trainer.examples import IGNORE_INDEX
from finetune_trainer.losses import ppo
from finetune_trainer.stages.objective import Meter
from finetune_trainer.stages.ppo.experience import Experience
from finetune_trainer.stages.ppo.rollout import read

_FARTHEST = 20.0
"""Log of a ratio that no answer that is kept has, and whose exponential is finite."""


class ClippedPolicy:
    """An objective over tokens of answers. Tells both losses, the entropy, and how often the policy was clipped."""

    looks_ahead = False

    def __init__(self) -> None:
        self.meter = Meter()
        self.experience: Experience | None = None
        """What is learned from at present; the trainer puts it here."""

    def items(self, batch: Batch) -> int:
        """Tokens of answers."""
        return int(batch["labels"][:, 1:].ne(IGNORE_INDEX).sum())

    def prepare(self, model: nn.Module, batches: Sequence[Batch], world: World) -> None:
        """What depends on all answers has been computed before: `experience.judge`."""

    def loss(self, model: nn.Module, batch: Batch, items: torch.Tensor) -> torch.Tensor:
        """See `Objective.loss`; `numbers` of the batch tell which answers its rows are."""
        assert self.experience is not None
        old = self.experience.tokens_of(batch["numbers"])
        logprobs, values, logits = read(model, batch)
        near = old["old_logprobs"] + (logprobs - old["old_logprobs"]).clamp(max=_FARTHEST)
        terms = ppo.clipped(
            logprobs=near,
            values=values,
            old_logprobs=old["old_logprobs"],
            old_values=old["old_values"],
            advantage=old["advantage"],
            returns=old["returns"],
        )
        kept = self._kept(terms.ratio.detach(), batch["labels"])
        self._tell(terms, logits.detach(), kept)
        loss = ((terms.policy + ppo.VALUE_WEIGHT * terms.value) * kept).sum() / items
        return loss if len(kept) else (logprobs.sum() + values.sum()) * 0.0

    def _kept(self, ratio: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Float [tokens], 0 on answers whose mean ratio has run away."""
        learned = labels[:, 1:].ne(IGNORE_INDEX)
        row_of = learned.nonzero()[:, 0]
        lengths = learned.sum(dim=1).clamp(min=1)
        means = torch.zeros(len(labels), device=ratio.device, dtype=ratio.dtype).index_add(0, row_of, ratio) / lengths
        return means.le(ppo.LARGEST_RATIO)[row_of].to(ratio.dtype)

    def _tell(self, terms: ppo.Clipped, logits: torch.Tensor, kept: torch.Tensor) -> None:
        self.meter.add("policy_loss", terms.policy, kept)
        self.meter.add("value_loss", terms.value, kept)
        self.meter.add("clip_fraction", terms.was_clipped, kept)
        log_p = logits.log_softmax(dim=-1)
        self.meter.add("entropy", -(log_p.exp() * log_p).sum(dim=-1))
