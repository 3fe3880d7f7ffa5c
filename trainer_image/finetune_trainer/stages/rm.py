"""Reward modelling: a value head learns which of two answers people prefer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from finetune_trainer.collate import Batch, PairCollator
from finetune_trainer.config import TrainConfig
from finetune_trainer.distributed import World
from finetune_trainer.losses import reward
from finetune_trainer.model import value_head
from finetune_trainer.stages.objective import Meter
from finetune_trainer.stages.parts import Parts
from finetune_trainer.stages.valued import ValuedTrainer


def build(cfg: TrainConfig, parts: Parts) -> ValuedTrainer:
    """A trainer whose loss is the mean over the pairs of the global batch.

    Raises:
        RunError: the value head beside the model belongs to another model.
    """
    pad = parts.tokenizer.pad_token_id
    assert isinstance(pad, int), "the template's fix-ups have set it"
    value_head.attach(parts.model, cfg.model)
    value_head.freeze_output_layer(parts.model)
    return ValuedTrainer(
        parts, objective=PairRanking(parts.model), collator=PairCollator(pad_token_id=pad), order=parts.order(cfg)
    )


class PairRanking:
    """An objective over pairs. Tells how often the chosen answer scores higher, accuracy, and by how much, margin."""

    looks_ahead = False

    def __init__(self, model: value_head.Valued) -> None:
        self.meter = Meter()
        self._values_only = value_head.values_only(model)

    def items(self, batch: Batch) -> int:
        """Pairs, without blanks."""
        return int(batch["weight"].sum())

    def prepare(self, model: nn.Module, batches: Sequence[Batch], world: World) -> None:
        """A pair's loss depends on no other pair."""

    def loss(self, model: nn.Module, batch: Batch, items: torch.Tensor) -> torch.Tensor:
        """See `Objective.loss`."""
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        values = model(**inputs, **self._values_only)["value"]
        chosen, rejected = reward.last_values(values, batch["attention_mask"]).chunk(2)
        weight = batch["weight"].to(chosen.device)
        self.meter.add("accuracy", chosen > rejected, weight)
        self.meter.add("margin", chosen - rejected, weight)
        return (reward.pair_losses(chosen, rejected) * weight).sum() / items
