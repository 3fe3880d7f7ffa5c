"""The loss of pt and sft: a loss of each learned token, its mean over the learned tokens of the global batch."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from finetune_trainer.collate import Batch
from finetune_trainer.distributed import World
from finetune_trainer.examples import IGNORE_INDEX
from finetune_trainer.losses import tokens
from finetune_trainer.model import head, routers
from finetune_trainer.model.tuning import adapters
from finetune_trainer.stages.objective import Meter

TokenLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From learned tokens' logits, float32 [tokens, vocabulary], and labels, int64 [tokens], to losses, [tokens]."""


class TokenMean:
    """An objective. Without a loss of its own it is cross entropy.

    The model's own loss is taken until it has been seen to be cross entropy and nothing more; from then on, and for
    every other loss, logits are computed for learned tokens alone. A fused kernel, which puts out no logits, stays.
    """

    looks_ahead = False

    def __init__(
        self, model: nn.Module, *, token_loss: TokenLoss | None = None, accuracy: bool = False, narrow: bool = True
    ) -> None:
        """Prepare.

        Args:
            model: not wrapped yet.
            token_loss: in place of cross entropy.
            accuracy: evaluation counts right tokens, too.
            narrow: whether logits may be of learned tokens alone; a compiled model needs shapes that stay the same.
        """
        self.meter = Meter()
        self._token_loss = token_loss or tokens.cross_entropy
        self._by_model = token_loss is None and accepts_items(model)
        self._accuracy = accuracy
        self._router_weight = routers.coefficient(model) or 0.0
        self._head = head.narrow_head(model) if narrow else None

    def items(self, batch: Batch) -> int:
        """Learned tokens. A causal model predicts the next one, so the first label of a row does not count."""
        return int(batch["labels"][:, 1:].ne(IGNORE_INDEX).sum())

    def prepare(self, model: nn.Module, batches: Sequence[Batch], world: World) -> None:
        """Nothing depends on the other micro batches."""

    def loss(self, model: nn.Module, batch: Batch, items: torch.Tensor) -> torch.Tensor:
        """See `Objective.loss`. A router's loss depends on the micro batch; it counts by its learned tokens."""
        if self._by_model:
            outputs = model(**batch, num_items_in_batch=items)
            loss: torch.Tensor = outputs["loss"] - self._router_loss(outputs)
            # Some models add to their loss in training alone, so that evaluation tells nothing.
            self._by_model = not (model.training and self._is_cross_entropy(loss, outputs, batch, items))
        else:
            outputs, logits, targets = self._predict(model, batch)
            loss = self.each(model, batch, logits, targets).sum() / items
        if self._counts_right(model):
            self.meter.add("accuracy", *row_accuracy(outputs["logits"], batch["labels"]))
        return loss + self._router_loss(outputs, batch, items)

    def each(
        self,
        model: nn.Module,  # noqa: ARG002 - for who overrides this
        batch: Batch,  # noqa: ARG002 - likewise
        logits: torch.Tensor,
        targets: torch.Tensor,
    ) -> torch.Tensor:
        """The loss of each learned token, [tokens]."""
        return self._token_loss(logits, targets)

    def _predict(self, model: nn.Module, batch: Batch) -> tuple[Mapping[str, Any], torch.Tensor, torch.Tensor]:
        """The model's outputs, and of learned tokens the logits, float32 [tokens, vocabulary], and the labels."""
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        labels = batch["labels"]
        if self._head is None or self._counts_right(model):
            outputs = model(**inputs)
            return outputs, *tokens.learned(outputs["logits"], labels)
        with self._head.at(tokens.places(labels)) as head:
            outputs = model(**inputs)
        if not head.narrowed:
            return outputs, *tokens.learned(outputs["logits"], labels)
        return outputs, outputs["logits"][0].float(), tokens.targets(labels)

    def _is_cross_entropy(
        self, loss: torch.Tensor, outputs: Mapping[str, Any], batch: Batch, items: torch.Tensor
    ) -> bool:
        """Whether the model's loss adds nothing of its own, as far as this micro batch tells."""
        if self._head is None or outputs.get("logits") is None or not self.items(batch):
            return False
        with torch.no_grad():
            plain = tokens.cross_entropy(*tokens.learned(outputs["logits"], batch["labels"])).sum() / items
            return bool(torch.isclose(loss.detach().float(), plain, rtol=1e-4, atol=0.0))

    def _counts_right(self, model: nn.Module) -> bool:
        return self._accuracy and not model.training

    def _router_loss(
        self, outputs: Mapping[str, Any], batch: Batch | None = None, items: torch.Tensor | float = 1.0
    ) -> torch.Tensor | float:
        """A mixture's auxiliary loss as the model adds it; with a batch, weighed by the batch's share of `items`.

        transformers adds it once for each micro batch, however many make the step.
        """
        router = outputs.get("aux_loss")
        if not self._router_weight or router is None:
            return 0.0
        whole: torch.Tensor = self._router_weight * router
        return whole if batch is None else whole * (self.items(batch) / items)


def accepts_items(model: nn.Module) -> bool:
    """Whether the model's forward takes `num_items_in_batch` and hands it to its loss, as transformers' own do."""
    base = adapters.beneath(model)
    if hasattr(base, "accepts_loss_kwargs"):
        return bool(base.accepts_loss_kwargs)
    parameters = inspect.signature(base.forward).parameters.values()
    return any(parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def row_accuracy(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each row's share of learned tokens that are the model's likeliest: float [batch], and 1 for rows that have any.

    Source: LLaMA-Factory, train/sft/metric.py (`ComputeAccuracy`): a mean over rows, not over tokens.
    """
    targets = labels[:, 1:].to(logits.device)
    learned = targets.ne(IGNORE_INDEX)
    right = (logits[:, :-1].argmax(dim=-1) == targets) & learned
    counts = learned.sum(dim=1)
    return right.sum(dim=1) / counts.clamp(min=1), counts.gt(0).long()


def smoothing(epsilon: float) -> TokenLoss | None:
    """The loss of label_smoothing_factor; None: plain cross entropy."""
    if not epsilon:
        return None
    return functools.partial(tokens.smoothed, epsilon=epsilon)
