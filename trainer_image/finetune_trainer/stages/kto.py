"""KTO: liked answers become likelier, disliked ones less likely, both held near a reference model.

What is computed is LLaMA-Factory's (train/kto/trainer.py, on trl 0.24), over the global batch in place of each micro
batch: the divergence from the reference is guessed from all rows of a step before its first gradient, so that it does
not matter how the step is split. While evaluating it is guessed from the rows that all ranks evaluate at once; so
eval_loss depends, a little, on per_device_eval_batch_size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from finetune_trainer.collate import Batch, VerdictCollator
from finetune_trainer.config import TrainConfig
from finetune_trainer.config.finetuning import FinetuningGroup
from finetune_trainer.distributed import World
from finetune_trainer.examples import IGNORE_INDEX
from finetune_trainer.losses import kto
from finetune_trainer.losses.answers import token_logps
from finetune_trainer.model import Reference, modes, reference
from finetune_trainer.stages.objective import Meter
from finetune_trainer.stages.parts import Parts
from finetune_trainer.stages.trainer import GlobalTrainer


def build(cfg: TrainConfig, parts: Parts) -> GlobalTrainer:
    """A trainer whose loss is the mean over the rows of the global batch.

    Raises:
        ModelNotFound: the reference model or one of its adapters is not there.
        RunError: the reference model does not fit.
    """
    pad = parts.tokenizer.pad_token_id
    assert isinstance(pad, int), "the template's fix-ups have set it"
    modes.without_dropout(parts.model)
    held = reference(cfg, parts.tokenizer, parts.model, device=parts.device)
    trainer = GlobalTrainer(
        parts,
        objective=Verdicts(cfg.finetuning, held),
        collator=VerdictCollator(pad_token_id=pad, ignore_pad_token_for_loss=cfg.data.ignore_pad_token_for_loss),
        order=parts.order(cfg),
    )
    held.prepare(trainer.accelerator)
    return trainer


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """Answers of a micro batch, float32 [rows] each."""

    logps: torch.Tensor
    """Log-probability of the whole answer."""
    lengths: torch.Tensor
    """Learned tokens."""
    ratios: torch.Tensor
    """`logps` less those of the reference."""


class Verdicts:
    """An objective over rows. `losses.kto` has the formula; pref_ftx adds the plain loss on liked answers."""

    looks_ahead = True

    def __init__(self, keys: FinetuningGroup, held: Reference) -> None:
        self.meter: Meter = VerdictMeter()
        self._keys = keys
        self._held = held
        self._level = torch.zeros(())
        self._rows_for_each_liked = 0.0

    def items(self, batch: Batch) -> int:
        """Rows, blank ones and those cut to nothing left out."""
        return int(_counted(batch).sum())

    def prepare(self, model: nn.Module, batches: Sequence[Batch], world: World) -> None:
        """Guess the divergence from answers to other questions, and count the liked rows."""
        total, rows, liked, others = 0.0, 0, 0, 0
        with modes.evaluating(model):
            for batch in batches:
                other, counted = _other_answers(batch), _counted(batch)
                real = _counted(other)
                total += float((self._answers(model, other)[0].ratios.double() * real).sum())
                others += int(real.sum())
                rows, liked = rows + int(counted.sum()), liked + int(counted[batch["kto_tags"]].sum())
        sums = torch.tensor(world.sum(total, others, rows, liked), dtype=torch.float64)
        device = batches[0]["input_ids"].device
        self._level = kto.divergence(sums[0], sums[1]).float().to(device)
        self._rows_for_each_liked = float(sums[2] / sums[3].clamp(min=1.0))
        self.meter.add("kl", self._level)

    def loss(self, model: nn.Module, batch: Batch, items: torch.Tensor) -> torch.Tensor:
        """See `Objective.loss`."""
        keys, liked, counted = self._keys, batch["kto_tags"], _counted(batch)
        answers, logits = self._answers(model, batch)
        losses = kto.verdict_losses(
            answers.ratios,
            liked,
            level=self._level,
            beta=keys.pref_beta,
            weights=(keys.kto_chosen_weight, keys.kto_rejected_weight),
        )
        if keys.pref_ftx > 0:
            plain = -answers.logps / answers.lengths.clamp(min=1)
            losses = losses + keys.pref_ftx * self._rows_for_each_liked * plain * liked
        self._tell(answers, liked, counted)
        self._count_logits(logits.detach(), batch, counted)
        return (losses * counted).sum() / items

    def _answers(self, model: nn.Module, batch: Batch) -> tuple[Answers, torch.Tensor]:
        """And the logits; the reference is asked first, while nothing is kept for a backward pass."""
        with self._held.frozen(model) as held:
            before = _logps(_logits(held, batch), batch)
        logits = _logits(model, batch)
        logps = _logps(logits, batch)
        lengths = (batch["labels"][:, 1:] != IGNORE_INDEX).sum(dim=1)
        return Answers(logps=logps, lengths=lengths, ratios=logps - before), logits

    def _tell(self, answers: Answers, liked: torch.Tensor, counted: torch.Tensor) -> None:
        for name, rows in (("chosen", liked), ("rejected", ~liked)):
            self.meter.add(f"rewards/{name}", self._keys.pref_beta * answers.ratios, counted * rows)
            self.meter.add(f"logps/{name}", answers.logps, counted * rows)

    def _count_logits(self, logits: torch.Tensor, batch: Batch, counted: torch.Tensor) -> None:
        """Mean logit of learned tokens, as in dpo."""
        learned, means = batch["labels"][:, 1:] != IGNORE_INDEX, logits[:, :-1].mean(-1)
        for name, rows in (("chosen", batch["kto_tags"]), ("rejected", ~batch["kto_tags"])):
            self.meter.add(f"logits/{name}", means, learned * (counted * rows)[:, None])


class VerdictMeter(Meter):
    """Tells the margin too where it has seen both kinds of rows: they come one by one, so no row has a margin."""

    def take(self, world: World) -> dict[str, float]:
        """See `Meter.take`."""
        told = super().take(world)
        if {"rewards/chosen", "rewards/rejected"} <= told.keys():
            told["rewards/margins"] = told["rewards/chosen"] - told["rewards/rejected"]
        return told


def _logits(model: nn.Module, batch: Batch) -> torch.Tensor:
    """[rows, sequence, vocabulary]."""
    outputs = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
    found: torch.Tensor = outputs["logits"]
    return found


def _logps(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """float32 [rows], of whole answers."""
    return token_logps(logits, batch["labels"]).sum(dim=1)


def _other_answers(batch: Batch) -> Batch:
    """The same questions with answers to other ones, as a batch like any other."""
    others = {name.removeprefix("kl_"): tensor for name, tensor in batch.items() if name.startswith("kl_")}
    return {**others, "weight": batch["weight"]}


def _counted(batch: Batch) -> torch.Tensor:
    """int64 [rows]: 1 for a row that can be learned from, 0 for blanks and answers that were cut to nothing."""
    return batch["weight"] * (batch["labels"][:, 1:] != IGNORE_INDEX).any(dim=1)
