"""GaLore: Adam's or Adafactor's state for gradients projected to a low rank (https://arxiv.org/abs/2403.03507).

Source: package galore-torch; LLaMA-Factory, train/trainer_utils.py, for the groups. The same for LLaMA-Factory's own
keys and for transformers' `optim: galore_...` with `optim_args` and `optim_target_modules`, whose settings differ in
their defaults; through transformers alone, weight decay and Adam's betas would be lost and no run could resume.
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
from finetune_trainer.optimisers.groups import Make, by_decay, matrices

EIGHT_BIT = frozenset({"adamw_bnb_8bit", "adamw_8bit", "paged_adamw_8bit"})


def build(cfg: TrainConfig, args: TrainingArguments, model: nn.Module) -> torch.optim.Optimizer:
    """GaLore on the wanted linear layers, its base optimiser on the rest.

    Raises:
        RunError: galore_target or optim_target_modules names no layer of this model.
    """
    own = cfg.finetuning.use_galore
    targets = cfg.finetuning.galore_target if own else cfg.training.optim_target_modules
    chosen = matrices(model, targets, "galore_target" if own else "optim_target_modules")
    group = {"params": chosen, "weight_decay": args.weight_decay, **(_settings(cfg) if own else _from_optim(cfg))}
    rest = by_decay(model, args.weight_decay, without=chosen)
    layerwise = cfg.finetuning.galore_layerwise if own else cfg.training.optim.endswith("_layerwise")
    return projected.assemble(_make(cfg, args), [*rest, group], _projector, layerwise=layerwise)


def _settings(cfg: TrainConfig) -> dict[str, Any]:
    keys = cfg.finetuning
    return {
        "rank": keys.galore_rank,
        "update_proj_gap": keys.galore_update_interval,
        "scale": keys.galore_scale,
        "proj_type": keys.galore_proj_type,
    }


def _from_optim(cfg: TrainConfig) -> dict[str, Any]:
    said = optim_arguments(cfg.training.optim_args)
    return {
        "rank": int(said.get("rank", 128)),
        "update_proj_gap": int(said.get("update_proj_gap", 200)),
        "scale": float(said.get("scale", 0.25)),
        "proj_type": said.get("proj_type", "std"),
    }


def _make(cfg: TrainConfig, args: TrainingArguments) -> Make:
    import galore_torch  # type: ignore[import-untyped]

    base = cfg.training.optim
    if cfg.training.adafactor or "adafactor" in base:
        return lambda groups: galore_torch.GaLoreAdafactor(
            groups, lr=args.learning_rate, scale_parameter=False, relative_step=False
        )
    eight = base in EIGHT_BIT or "8bit" in base
    made_from = galore_torch.GaLoreAdamW8bit if eight else galore_torch.GaLoreAdamW
    further = {} if eight else {"no_deprecation_warning": True}
    betas = (args.adam_beta1, args.adam_beta2)
    return lambda groups: made_from(groups, lr=args.learning_rate, betas=betas, eps=args.adam_epsilon, **further)


def _projector(group: Mapping[str, Any], _: Mapping[str, Any]) -> projected.Projector:
    from galore_torch.galore_projector import GaLoreProjector  # type: ignore[import-untyped]

    names = ("rank", "update_proj_gap", "scale", "proj_type")
    return GaLoreProjector(**{name: group[name] for name in names})
