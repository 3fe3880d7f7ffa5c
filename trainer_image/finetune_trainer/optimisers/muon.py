"""Muon: momentum, made orthogonal, for the matrices of the layers; AdamW for all else.

Source: https://kellerjordan.github.io/posts/muon, scaled as in Moonlight (https://arxiv.org/abs/2502.16982); the same
division of parameters as LLaMA-Factory's third_party/muon: what is two-dimensional and neither embedding nor output
layer. Weight decay is for all parameters, norms too, as there. torch's Muon keeps momentum as a mean where
LLaMA-Factory's keeps a sum; orthogonalising takes the factor away again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments

from finetune_trainer.config import TrainConfig
from finetune_trainer.optimisers.groups import trained
from finetune_trainer.optimisers.joined import Joined

MOMENTUM = 0.95


def build(_: TrainConfig, args: TrainingArguments, model: nn.Module) -> torch.optim.Optimizer:
    """Muon and AdamW as one optimiser, with one learning rate."""
    hidden, others = _divided(model)
    common: dict[str, Any] = {"lr": args.learning_rate, "weight_decay": args.weight_decay}
    parts: list[torch.optim.Optimizer] = []
    if hidden:
        parts.append(torch.optim.Muon(hidden, momentum=MOMENTUM, adjust_lr_fn="match_rms_adamw", **common))
    if others:
        betas = (args.adam_beta1, args.adam_beta2)
        parts.append(torch.optim.AdamW(others, betas=betas, eps=args.adam_epsilon, **common))
    return Joined(parts)


def _divided(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    hidden: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in trained(model):
        outside = "embed" in name or "lm_head" in name
        (hidden if parameter.ndim == 2 and not outside else others).append(parameter)
    return hidden, others
