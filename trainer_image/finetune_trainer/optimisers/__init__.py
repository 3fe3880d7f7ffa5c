"""Optimisers: which one moves the weights, with which groups of parameters; and the learning rate's course.

Law: knows parameters and their names, no batch and no file. What transformers has by a name in `optim` is left to it.
One file for each optimiser of LLaMA-Factory's own keys.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import TrainingArguments

from finetune_trainer.config import TrainConfig

__all__ = ["build"]


def build(cfg: TrainConfig, args: TrainingArguments, model: nn.Module) -> torch.optim.Optimizer | None:  # noqa: ARG001
    """The optimiser that LLaMA-Factory's own keys ask for; None: transformers' own, by `optim`."""
    return None
