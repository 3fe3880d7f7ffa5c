"""Which parameters an optimiser gets, and in which groups: with weight decay, without it, or picked out by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from finetune_trainer.failures import RunError

Group = dict[str, Any]
"""What torch's optimisers take: `params` and settings that are theirs alone."""
Make = Callable[[list[Group]], torch.optim.Optimizer]
"""An optimiser's class with its settings, waiting for parameters."""
OUTPUT_LAYERS = frozenset({"lm_head", "output_layer", "embed_out", "output"})


def trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Names and parameters that learn."""
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def decayed(model: nn.Module) -> frozenset[str]:
    """Names of the parameters that weight decay is for, as transformers' Trainer has it: no bias, no norm."""
    names: list[str] = Trainer.get_decay_parameter_names(cast("Trainer", None), model)
    return frozenset(names)


def by_decay(model: nn.Module, weight_decay: float, *, without: Collection[nn.Parameter] = ()) -> list[Group]:
    """Two groups, without and with weight decay, of what learns and is not among `without`."""
    left_out = {id(parameter) for parameter in without}
    names = decayed(model)
    plain: list[nn.Parameter] = []
    shrinking: list[nn.Parameter] = []
    for name, parameter in trained(model):
        if id(parameter) not in left_out:
            (shrinking if name in names else plain).append(parameter)
    return [{"params": plain, "weight_decay": 0.0}, {"params": shrinking, "weight_decay": weight_decay}]


def matrices(model: nn.Module, targets: Sequence[str], key: str) -> list[nn.Parameter]:
    """The trained weights of linear layers whose name holds or matches one of `targets`.

    `all` means all but the output layer's.

    Raises:
        RunError: no layer of this model is meant; `key` is what to change.
    """
    found = [
        cast("nn.Parameter", module.weight)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module.weight.requires_grad and _meant(name, targets)
    ]
    if not found:
        layers = sorted(
            {name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, nn.Linear)}
        )
        raise RunError(f"{key}: no trained linear layer is called {', '.join(targets)}; there are {', '.join(layers)}")
    return found


def by_name(args: TrainingArguments, **settings: object) -> Make:
    """transformers' optimiser by the name in `optim`, without its parameters; `settings` go over its own."""
    made_from, kwargs = Trainer.get_optimizer_cls_and_kwargs(args)
    return lambda groups: cast("torch.optim.Optimizer", made_from(groups, **{**kwargs, **settings}))


def _meant(name: str, targets: Sequence[str]) -> bool:
    if len(targets) == 1 and targets[0].replace("_", "-") in ("all", "all-linear"):
        return name.rpartition(".")[2] not in OUTPUT_LAYERS
    return any(target in name or _matches(target, name) for target in targets)


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.fullmatch(pattern, name) is not None
    except re.error:
        return False
