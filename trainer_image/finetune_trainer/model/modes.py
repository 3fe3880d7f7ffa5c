"""Chance in a model: dropout, off for a while or for good."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """No dropout, and afterwards every module in the mode that it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def without_dropout(model: nn.Module) -> None:
    """For good: an answer's likelihood must not depend on chance while it is compared with another's, or with a
    reference's. trl turns it off too.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
