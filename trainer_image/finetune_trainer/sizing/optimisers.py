"""Pure: how much an optimiser remembers of each weight.

Sources: transformers 5.23's trainer_optimizer.py, torch.optim, bitsandbytes 0.50 (blocks of 256 with a float32
constant), torchao 0.18, GaLore (https://arxiv.org/abs/2403.03507), APOLLO (https://arxiv.org/abs/2412.05270), and
finetune_trainer.optimisers for LLaMA-Factory's own keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from finetune_trainer.config import TrainConfig
from finetune_trainer.config.optim_values import effective_optim, method, optim_arguments
from finetune_trainer.sizing import parameters
from finetune_trainer.sizing.architecture import Architecture
from finetune_trainer.sizing.parameters import Weight
from finetune_trainer.sizing.trained import Trained

_FLOAT = 4.0
_EIGHT = 1 + _FLOAT / 256
_STATES: tuple[tuple[str, float], ...] = (
    (r"adamw_torch_4bit", 2 * (0.5 + _FLOAT / 128)),
    (r"ademamix_8bit|paged_ademamix_8bit", 3 * _EIGHT),
    (r"(adamw|paged_adamw|adamw_torch|adamw_bnb).*8bit", 2 * _EIGHT),
    (r"(lion|paged_lion|rmsprop_bnb)_8bit", _EIGHT),
    (r"lomo|adalomo", 0.0),
    (r"ademamix|paged_ademamix_32bit", 3 * _FLOAT),
    (r"adagrad|rmsprop.*|lion_32bit|paged_lion_32bit|schedule_free_sgd", _FLOAT),
    (r"adafactor", 0.01 * _FLOAT),
    (r"grokadamw", 3 * _FLOAT),
)
"""optim -> bytes for each weight in float32; what is not here keeps two means, as Adam does. Adafactor keeps a row and
a column of each matrix: about a hundredth.
"""
_WITHOUT_COPIES = re.compile(r"adamw_torch_fused|.*bit|lomo|adalomo|sgd|.*layerwise")
"""Optimisers that step without a temporary copy; the others work on all weights at once (foreach)."""


def states(cfg: TrainConfig, model: Architecture, trained: Trained, *, number: float = _FLOAT) -> float:
    """Bytes that the optimiser remembers of all weights that learn, on all ranks together.

    Args:
        cfg: `optim` and LLaMA-Factory's own keys.
        model: its matrices, which some optimisers project.
        trained: what learns.
        number: bytes of a trained weight, which most keep their means in.
    """
    chosen = method(cfg)
    if chosen in ("galore", "apollo"):
        keys = cfg.finetuning
        rank = keys.galore_rank if chosen == "galore" else keys.apollo_rank
        return _projected(model, trained, rank, number, keeps_projection=chosen == "galore")
    if chosen == "badam":
        return 2 * _FLOAT * block(cfg, model, trained)
    if chosen == "adam_mini":
        return number * trained.total
    if chosen == "muon":
        matrices = sum(weight.count for weight in _matrices(model))
        return number * (2 * trained.total - min(matrices, trained.total))
    return _by_name(cfg, number) * trained.total


def copies(cfg: TrainConfig) -> bool:
    """Whether a step makes a temporary copy of what it steps, as large as the weights."""
    return method(cfg) is None and not _WITHOUT_COPIES.fullmatch(effective_optim(cfg))


def block(cfg: TrainConfig, model: Architecture, trained: Trained) -> float:
    """Weights that BAdam moves at a time: a layer, or a share of all."""
    if cfg.finetuning.badam_mode == "ratio":
        return cfg.finetuning.badam_update_ratio * trained.total
    return parameters.largest_layer(model)


def _by_name(cfg: TrainConfig, number: float) -> float:
    name = effective_optim(cfg)
    if name == "sgd":
        return number if float(optim_arguments(cfg.training.optim_args).get("momentum", 0)) else 0.0
    for pattern, bytes_each in _STATES:
        if re.fullmatch(pattern, name):
            return bytes_each if "bit" in name else bytes_each * number / _FLOAT
    return 2 * number


def _projected(model: Architecture, trained: Trained, rank: int, number: float, *, keeps_projection: bool) -> float:
    """Adam's means of rank x the longer side for matrices, and the projection, rank x the shorter one."""
    matrices = list(_matrices(model))
    inside = sum(_low_rank(weight, rank, keeps_projection=keeps_projection) for weight in matrices)
    rest = max(0, trained.total - sum(weight.count for weight in matrices))
    return number * (inside + 2 * rest)


def _low_rank(weight: Weight, rank: int, *, keeps_projection: bool) -> int:
    sides = sorted((weight.inputs, weight.outputs))
    return 2 * rank * sides[1] + (rank * sides[0] if keeps_projection else 0)


def _matrices(model: Architecture) -> Iterator[Weight]:
    return (weight for weight in parameters.weights(model) if weight.linear and weight.name != "lm_head")
