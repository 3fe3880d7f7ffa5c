"""Preference training: of two answers to a prompt, the chosen one shall become likelier than the rejected one.

What is computed is LLaMA-Factory's (train/dpo/trainer.py), over the global batch in place of each micro batch.
Differently from it, hinge, ipo and kto_pair are computed (it trains sigmoid); the plain loss on chosen answers, in
orpo and pref_ftx, stays plain with ld_alpha; routers' balancing loss is added; evaluation leaves BCO's baseline alone;
pairs with an answer that was cut to nothing are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from finetune_trainer.collate import Batch, PairCollator
from finetune_trainer.config import TrainConfig
from finetune_trainer.config.finetuning import FinetuningGroup
from finetune_trainer.distributed import World
from finetune_trainer.examples import IGNORE_INDEX
from finetune_trainer.losses import preference
from finetune_trainer.losses.answers import common_length, token_logps
from finetune_trainer.model import Reference, modes, reference, routers
from finetune_trainer.stages.baseline import Baseline
from finetune_trainer.stages.objective import Meter
from finetune_trainer.stages.parts import Parts
from finetune_trainer.stages.trainer import GlobalTrainer

AVERAGED = frozenset({"ipo", "orpo", "simpo"})
"""Losses on the mean log-probability of an answer's tokens; the others take the sum."""
ALONE = frozenset({"orpo", "simpo"})
"""Losses without a reference model."""


def build(cfg: TrainConfig, parts: Parts) -> GlobalTrainer:
    """A trainer whose loss is the mean over the pairs of the global batch. Dropout is off, as in LLaMA-Factory.

    Raises:
        ModelNotFound: the reference model or one of its adapters is not there.
        RunError: the reference model does not fit.
    """
    pad = parts.tokenizer.pad_token_id
    assert isinstance(pad, int), "the template's fix-ups have set it"
    modes.without_dropout(parts.model)
    alone = cfg.finetuning.pref_loss in ALONE
    held = None if alone else reference(cfg, parts.tokenizer, parts.model, device=parts.device)
    baseline = Baseline()
    trainer = GlobalTrainer(
        parts,
        objective=PairLoss(parts.model, cfg.finetuning, held, baseline),
        collator=PairCollator(pad_token_id=pad, ignore_pad_token_for_loss=cfg.data.ignore_pad_token_for_loss),
        order=parts.order(cfg),
    )
    if cfg.finetuning.pref_bco_weight:
        trainer.add_callback(baseline)
    if held is not None:
        held.prepare(trainer.accelerator)
    return trainer


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What a model says of a micro batch's learnable pairs: float32 [pairs] each."""

    chosen: torch.Tensor
    """Log-probability of the chosen answer: a sum over its tokens, or their mean."""
    rejected: torch.Tensor
    plain: torch.Tensor
    """Mean over the chosen answer's tokens of the negative log-probability."""

    def above(self, held: Answers | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-ratios to the reference, chosen and rejected; without one the log-probabilities."""
        if held is None:
            return self.chosen, self.rejected
        return self.chosen - held.chosen, self.rejected - held.rejected


@dataclass(frozen=True, kw_only=True, slots=True)
class Levels:
    """What kto_pair and BCO know of the whole global batch."""

    chosen: float
    """Mean log-ratio of chosen answers, at least 0."""
    rejected: float
    baseline: float
    """Running mean of rewards."""


class PairLoss:
    """An objective; `losses.preference` has the formulas."""

    def __init__(self, model: nn.Module, keys: FinetuningGroup, held: Reference | None, baseline: Baseline) -> None:
        self.meter = self._training_meter = Meter()
        self.looks_ahead = keys.pref_loss == "kto_pair" or keys.pref_bco_weight > 0
        self._keys = keys
        self._averaged = keys.pref_loss in AVERAGED
        self._held = held
        self._baseline = baseline
        self._levels = Levels(chosen=0.0, rejected=0.0, baseline=0.0)
        self._asked: list[Answers | None] = []  # what `prepare` has heard from the reference, for the calls of `loss`
        self._router_weight = routers.coefficient(model) or 0.0

    def items(self, batch: Batch) -> int:
        """Pairs, but for blank ones and those of which an answer was cut to nothing."""
        return int(learnable(batch).sum())

    def prepare(self, model: nn.Module, batches: Sequence[Batch], world: World) -> None:
        """Levels and baseline, as the model is now: from one more forward over the step's micro batches."""
        self._asked, sums = [], torch.zeros(3, dtype=torch.float64)
        with modes.evaluating(model):
            for batch in batches:
                self._asked.append(self._reference(model, batch))
                chosen, rejected = self._policy(_forward(model, batch)["logits"], batch).above(self._asked[-1])
                sums += torch.tensor([float(chosen.sum()), float(rejected.sum()), len(chosen)], dtype=torch.float64)
        chosen_sum, rejected_sum, pairs = world.sum(*sums.tolist())
        self._levels = self._level(chosen_sum / max(1.0, pairs), rejected_sum / max(1.0, pairs), pairs=pairs)

    def loss(self, model: nn.Module, batch: Batch, items: torch.Tensor) -> torch.Tensor:
        """See `Objective.loss`."""
        held = self._asked.pop(0) if self._asked else self._reference(model, batch)
        outputs = _forward(model, batch)
        policy = self._policy(outputs["logits"], batch)
        losses = self._on_pairs(policy, held) + self._keys.pref_ftx * policy.plain
        self._count(policy, held)
        self._count_logits(outputs["logits"].detach(), batch)
        loss = losses.sum() / items
        if outputs.get("aux_loss") is not None:
            loss = loss + self._router_weight * outputs["aux_loss"].to(loss.device) * len(losses) / items
        return loss

    def _on_pairs(self, policy: Answers, held: Answers | None) -> torch.Tensor:
        """The loss of each pair, float [pairs], before pref_ftx."""
        keys, beta = self._keys, self._keys.pref_beta
        chosen, rejected = policy.above(held)
        match keys.pref_loss:
            case "orpo":
                return policy.plain + beta * preference.odds_ratio(chosen, rejected)
            case "simpo":
                return preference.simpo(chosen, rejected, beta=beta, gamma=keys.simpo_gamma)
            case "sigmoid":
                losses = preference.sigmoid(chosen - rejected, beta=beta, smoothing=keys.dpo_label_smoothing)
            case "hinge":
                losses = preference.hinge(chosen - rejected, beta=beta)
            case "ipo":
                losses = preference.ipo(chosen - rejected, beta=beta)
            case "kto_pair":
                levels = self._levels
                losses = preference.kto_pair(
                    chosen, rejected, beta=beta, chosen_level=levels.chosen, rejected_level=levels.rejected
                )
        if not keys.pref_bco_weight:
            return losses
        classified = preference.bco(chosen, rejected, beta=beta, baseline=self._levels.baseline)
        return (losses + keys.pref_bco_weight * classified) / (1 + keys.pref_bco_weight)

    def _policy(self, logits: torch.Tensor, batch: Batch) -> Answers:
        return answers(logits, batch, averaged=self._averaged, ld_alpha=self._keys.ld_alpha)

    def _reference(self, model: nn.Module, batch: Batch) -> Answers | None:
        """Its answers count whole, as in LLaMA-Factory: ld_alpha is for the trained model."""
        if self._held is None:
            return None
        with self._held.frozen(model) as frozen:
            return answers(_forward(frozen, batch)["logits"], batch, averaged=self._averaged, ld_alpha=None)

    def _level(self, chosen: float, rejected: float, *, pairs: float) -> Levels:
        """From mean log-ratios; evaluation, when the trainer has put another meter here, moves no running mean."""
        mean = self._keys.pref_beta * (chosen + rejected) / 2
        if self.meter is self._training_meter and pairs:
            self._baseline.add(mean)
        baseline = self._baseline.mean if self._baseline.batches else mean
        return Levels(chosen=max(0.0, chosen), rejected=max(0.0, rejected), baseline=baseline)

    def _count(self, policy: Answers, held: Answers | None) -> None:
        """What LLaMA-Factory tells of pairs, under its names."""
        chosen, rejected = (self._keys.pref_beta * ratio.detach() for ratio in policy.above(held))
        self.meter.add("rewards/chosen", chosen)
        self.meter.add("rewards/rejected", rejected)
        self.meter.add("rewards/accuracies", (chosen > rejected).float())
        self.meter.add("rewards/margins", chosen - rejected)
        self.meter.add("logps/chosen", policy.chosen)
        self.meter.add("logps/rejected", policy.rejected)
        if self._keys.pref_loss == "orpo":
            self.meter.add("odds_ratio_loss", preference.odds_ratio(policy.chosen, policy.rejected))
        if self._keys.pref_loss == "orpo" or self._keys.pref_ftx:
            self.meter.add("sft_loss", policy.plain)

    def _count_logits(self, logits: torch.Tensor, batch: Batch) -> None:
        """Mean logit of learned tokens; LLaMA-Factory's also counts prompts and pads, which says little."""
        learned = (batch["labels"][:, 1:] != IGNORE_INDEX) & learnable(batch).repeat(2)[:, None]
        means = logits[:, :-1].mean(-1)
        for name, values, weights in zip(("chosen", "rejected"), means.chunk(2), learned.chunk(2), strict=True):
            self.meter.add(f"logits/{name}", values, weights)


def answers(logits: torch.Tensor, batch: Batch, *, averaged: bool, ld_alpha: float | None) -> Answers:
    """What logits say of a batch's learnable pairs.

    Args:
        logits: [2 * pairs, sequence, vocabulary].
        batch: of a PairCollator.
        averaged: over an answer's tokens, in place of a sum.
        ld_alpha: weight of the tokens by which one answer is longer than the other; None: 1.
    """
    labels = batch["labels"].to(logits.device)
    logps = token_logps(logits, labels)
    lengths = (labels[:, 1:] != IGNORE_INDEX).sum(-1).clamp(min=1)
    weighed = logps if ld_alpha is None else torch.where(common_length(labels), logps, ld_alpha * logps)
    scores = weighed.sum(-1) / lengths if averaged else weighed.sum(-1)
    kept = learnable(batch).to(logits.device)
    (chosen, rejected), (plain, _) = scores.chunk(2), (-logps.sum(-1) / lengths).chunk(2)
    return Answers(chosen=chosen[kept], rejected=rejected[kept], plain=plain[kept])


def learnable(batch: Batch) -> torch.Tensor:
    """Pairs that are real and have a learned token in both answers: bool [pairs]."""
    chosen, rejected = (batch["labels"][:, 1:] != IGNORE_INDEX).any(-1).chunk(2)
    return chosen & rejected & (batch["weight"] > 0)


def _forward(model: nn.Module, batch: Batch) -> Mapping[str, Any]:
    outputs: Mapping[str, Any] = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    return outputs
