"""Optimisers that keep a projection beside each weight: their state as tensors and numbers, so that a run can resume.

The packages keep a Python object in the state, which `torch.load(weights_only=True)`, and so transformers, refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from finetune_trainer.optimisers.groups import Group, Make
from finetune_trainer.optimisers.joined import Layerwise

Projector = Any
"""GaLoreProjector, or APOLLO's GradientProjector; the packages have no types."""
Anew = Callable[[Mapping[str, Any], Mapping[str, Any]], Projector]
"""(the parameter's group, its state) -> a projector that has projected nothing yet."""
KEPT = ("ortho_matrix", "seed")
"""What a projector changes while it works; all else comes from the group."""


def assemble(make: Make, groups: list[Group], anew: Anew, *, layerwise: bool) -> torch.optim.Optimizer:
    """One optimiser for all groups, or one for each parameter, whose checkpoints hold no objects."""
    whole: torch.optim.Optimizer
    if layerwise:
        single = [{**group, "params": [parameter]} for group in groups for parameter in group["params"]]
        whole = Layerwise([make([group]) for group in single])
    else:
        whole = make([group for group in groups if group["params"]])
    whole.register_state_dict_post_hook(_pack)
    whole.register_load_state_dict_post_hook(lambda optimiser: _unpack(optimiser, anew))
    return whole


def _pack(_: torch.optim.Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    return {**state_dict, "state": {index: _packed(state) for index, state in state_dict["state"].items()}}


def _packed(state: Mapping[str, Any]) -> dict[str, Any]:
    projector = state.get("projector")
    kept = {name: getattr(projector, name) for name in KEPT if hasattr(projector, name)}
    plain = {name: value for name, value in state.items() if name != "projector"}
    return {**plain, **({"projection": kept} if kept else {})}


def _unpack(optimiser: torch.optim.Optimizer, anew: Anew) -> None:
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            state = optimiser.state.get(parameter, {})
            kept = state.pop("projection", None)
            if kept is not None:
                state["projector"] = anew(group, state)
                for name, value in kept.items():
                    setattr(state["projector"], name, value)
