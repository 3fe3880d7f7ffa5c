"""The output layer, computed only where it is asked for: with a large vocabulary its scores are most of the memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from finetune_trainer.model.tuning import adapters


class NarrowHead:
    """Lets the hidden states of chosen places alone into a model's output layer."""

    def __init__(self, head: nn.Module) -> None:
        """`head`: takes hidden states [batch, sequence, width] as its first argument."""
        self._where: torch.Tensor | None = None
        self._narrowed = False
        head.register_forward_pre_hook(self._narrow)

    @contextmanager
    def at(self, where: torch.Tensor) -> Iterator[NarrowHead]:
        """While the context lasts the model puts out logits [1, places, vocabulary], in the order of rows and places.

        Args:
            where: bool [batch, sequence].
        """
        self._where, self._narrowed = where, False
        try:
            yield self
        finally:
            self._where = None

    @property
    def narrowed(self) -> bool:
        """Whether the layer was called so; a model that computes its scores otherwise puts out all of them."""
        return self._narrowed

    def _narrow(self, _head: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._where is None or not inputs or inputs[0].shape[:2] != self._where.shape:
            return None
        self._narrowed = True
        return (inputs[0][self._where][None], *inputs[1:])


def narrow_head(model: nn.Module) -> NarrowHead | None:
    """A model's, not wrapped yet, under an adapter or not; None where it does not say which layer that is."""
    base = adapters.beneath(model)
    head = base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
    return None if head is None else NarrowHead(head)
