"""The loss of pt and sft: cross entropy, its mean over the learned tokens of the global batch."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from finetune_trainer.collate import Batch
from finetune_trainer.distributed import World
from finetune_trainer.examples import IGNORE_INDEX
from finetune_trainer.stages.objective import Meter


class TokenMean:
    """An objective. The model computes it by itself where its forward takes `num_items_in_batch`: fused kernels."""

    looks_ahead = False

    def __init__(self, model: nn.Module) -> None:
        self.meter = Meter()
        self._by_model = accepts_items(model)

    def items(self, batch: Batch) -> int:
        """Learned tokens. A causal model predicts the next one, so the first label of a row does not count."""
        return int(batch["labels"][:, 1:].ne(IGNORE_INDEX).sum())

    def prepare(self, model: nn.Module, batches: Sequence[Batch], world: World) -> None:
        """Nothing depends on the other micro batches."""

    def loss(self, model: nn.Module, batch: Batch, items: torch.Tensor) -> torch.Tensor:
        """See `Objective.loss`."""
        if self._by_model:
            loss: torch.Tensor = model(**batch, num_items_in_batch=items)["loss"]
            return loss
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        return next_token_loss(model(**inputs)["logits"], batch["labels"], items)


def accepts_items(model: nn.Module) -> bool:
    """Whether the model's forward takes `num_items_in_batch` and hands it to its loss, as transformers' own do."""
    wrapped: Any = model
    unwrapped = wrapped.get_base_model() if hasattr(model, "get_base_model") else wrapped
    if hasattr(unwrapped, "accepts_loss_kwargs"):
        return bool(unwrapped.accepts_loss_kwargs)
    parameters = inspect.signature(unwrapped.forward).parameters.values()
    return any(parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def next_token_loss(logits: torch.Tensor, labels: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Cross entropy of the next token, summed over learned tokens and divided by `items`.

    Args:
        logits: [batch, sequence, vocabulary].
        labels: int64 [batch, sequence], -100 where nothing is learned.
        items: [], learned tokens of the global batch.
    """
    flat = logits[:, :-1].float().flatten(0, 1)
    targets = labels[:, 1:].flatten().to(flat.device)
    return functional.cross_entropy(flat, targets, ignore_index=IGNORE_INDEX, reduction="sum") / items
