"""APOLLO: gradients scaled by channel or tensor, from an Adam state of low rank (https://arxiv.org/abs/2412.05270).

Source: package apollo-torch; LLaMA-Factory, train/trainer_utils.py, for the groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments

from finetune_trainer.config import TrainConfig
from finetune_trainer.config.optim_values import optim_arguments
from finetune_trainer.optimisers import projected
from finetune_trainer.optimisers.groups import by_decay, matrices


def build(cfg: TrainConfig, args: TrainingArguments, model: nn.Module) -> torch.optim.Optimizer:
    """APOLLO on the wanted linear layers, Adam on the rest.

    Raises:
        RunError: apollo_target or optim_target_modules names no layer of this model.
    """
    import apollo_torch  # type: ignore[import-untyped]

    own = cfg.finetuning.use_apollo
    targets = cfg.finetuning.apollo_target if own else cfg.training.optim_target_modules
    chosen = matrices(model, targets, "apollo_target" if own else "optim_target_modules")
    group = {"params": chosen, "weight_decay": args.weight_decay, **(_settings(cfg) if own else _from_optim(cfg))}
    rest = by_decay(model, args.weight_decay, without=chosen)
    further = {
        "lr": args.learning_rate,
        "betas": (args.adam_beta1, args.adam_beta2),
        "eps": args.adam_epsilon,
    }
    return projected.assemble(
        lambda groups: apollo_torch.APOLLOAdamW(groups, **further),
        [*rest, group],
        _projector,
        layerwise=cfg.finetuning.apollo_layerwise if own else cfg.training.optim.endswith("_layerwise"),
    )


def _settings(cfg: TrainConfig) -> dict[str, Any]:
    keys = cfg.finetuning
    return {
        "rank": keys.apollo_rank,
        "proj": keys.apollo_proj,
        "proj_type": keys.apollo_proj_type,
        "update_proj_gap": keys.apollo_update_interval,
        "scale": keys.apollo_scale,
        "scale_type": keys.apollo_scale_type,
    }


def _from_optim(cfg: TrainConfig) -> dict[str, Any]:
    said = optim_arguments(cfg.training.optim_args)
    return {
        "rank": int(said.get("rank", 128)),
        "proj": said.get("proj", "random"),
        "proj_type": said.get("proj_type", "std"),
        "update_proj_gap": int(said.get("update_proj_gap", 200)),
        "scale": float(said.get("scale", 1.0)),
        "scale_type": said.get("scale_type", "channel"),
    }


def _projector(group: Mapping[str, Any], state: Mapping[str, Any]) -> projected.Projector:
    names = ("rank", "update_proj_gap", "scale", "proj_type")
    settings = {name: group[name] for name in names}
    if group["proj"] == "svd":
        from apollo_torch.svd_projector import GaLoreProjector  # type: ignore[import-untyped]

        return GaLoreProjector(**settings)
    from apollo_torch.random_projector import GradientProjector  # type: ignore[import-untyped]

    return GradientProjector(**settings, seed=state["seed"])
