"""Adam-mini: one second moment for each head and each neuron (https://arxiv.org/abs/2406.16793).

Source: package adam-mini. It takes the number of this node's GPUs for the number of ranks that share each weight, and
calls collectives for them; no weight is shared here, so it is told that there is one. It is silenced, too.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from transformers import TrainingArguments

from finetune_trainer.config import TrainConfig
from finetune_trainer.failures import RunError
from finetune_trainer.optimisers.groups import trained


def build(_: TrainConfig, args: TrainingArguments, model: nn.Module) -> torch.optim.Optimizer:
    """Adam-mini with the model's widths.

    Raises:
        RunError: the model's weights can't be cut into heads and neurons.
    """
    from adam_mini import Adam_mini  # type: ignore[import-untyped]

    width, heads, head_width = _widths(model)
    optimiser = Adam_mini(
        named_parameters=trained(model),
        lr=args.learning_rate,
        betas=(args.adam_beta1, args.adam_beta2),
        eps=args.adam_epsilon,
        weight_decay=args.weight_decay,
        dim=width,
        n_heads=heads,
        verbose=False,
    )
    optimiser.world_size = 1
    optimiser.head_numel = width * head_width  # the package's own figure forgets models whose heads are wider
    return cast("torch.optim.Optimizer", optimiser)


def _widths(model: nn.Module) -> tuple[int, int, int]:
    """(hidden size, heads, width of a head)."""
    config = model.config
    text = config.get_text_config() if hasattr(config, "get_text_config") else config  # type: ignore[operator]
    width, heads = getattr(text, "hidden_size", None), getattr(text, "num_attention_heads", None)
    deep = [name for name, parameter in trained(model) if parameter.ndim > 2]
    if not width or not heads or deep:
        why = f"{deep[0]} is no matrix" if deep else "the model does not say hidden_size and num_attention_heads"
        raise RunError(f"use_adam_mini: {why}; take use_muon, or leave it out")
    return width, heads, getattr(text, "head_dim", None) or width // heads
