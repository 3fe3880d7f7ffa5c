"""Optimisers: which one moves the weights, with which groups of parameters; and the learning rate's course.

Law: knows parameters and their names, no batch and no file. What transformers has by a name in `optim` is left to it,
but for GaLore's and APOLLO's, whose state could not be resumed. One file for each optimiser of LLaMA-Factory's own
keys.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from transformers import TrainerCallback, TrainingArguments

from finetune_trainer.config import TrainConfig
from finetune_trainer.config.optim_values import effective_optim, method
from finetune_trainer.optimisers import adam_mini, apollo, badam, galore, loraplus, muon, schedule
from finetune_trainer.optimisers.averaged import SavesTheMean
from finetune_trainer.optimisers.ready import check

__all__ = ["build", "callbacks", "check", "schedule"]


def build(cfg: TrainConfig, args: TrainingArguments, model: nn.Module) -> torch.optim.Optimizer | None:
    """The optimiser that LLaMA-Factory's own keys ask for; None: transformers' own, by `optim`.

    Raises:
        RunError: the model lacks what the optimiser works on.
    """
    optim = effective_optim(cfg)
    chosen = method(cfg) or optim.partition("_")[0]
    make = _BUILDERS.get(chosen)
    return None if make is None else make(cfg, args, model)


def callbacks(cfg: TrainConfig) -> list[TrainerCallback]:
    """What the optimiser must hear of the run's course."""
    return [SavesTheMean()] if effective_optim(cfg).startswith("schedule_free") else []


_BUILDERS: dict[str, Callable[[TrainConfig, TrainingArguments, nn.Module], torch.optim.Optimizer]] = {
    "galore": galore.build,
    "apollo": apollo.build,
    "loraplus": loraplus.build,
    "badam": badam.build,
    "adam_mini": adam_mini.build,
    "muon": muon.build,
}
