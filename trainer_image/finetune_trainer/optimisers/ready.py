"""Whether this machine has what the wanted optimiser needs; asked before a model is loaded."""

from __future__ import annotations

import importlib.util
import re

import torch
from transformers import TrainingArguments

from finetune_trainer.config import TrainConfig
from finetune_trainer.config.optim_values import IN_BACKWARD, effective_optim, is_layerwise, method
from finetune_trainer.failures import RunError

GPU_ONLY = frozenset(
    {"paged_ademamix_32bit", "paged_ademamix_8bit", "galore_adamw_8bit", "galore_adamw_8bit_layerwise", "adalomo"}
)
"""Found by trying each of transformers' optimisers on a CPU."""
DEVICES = {"adamw_torch_xla": "torch_xla, for TPUs", "adamw_torch_npu_fused": "torch_npu, for Ascend"}
PACKAGES: tuple[tuple[str, str, str], ...] = (
    (r"adamw_anyprecision", "torchdistx", "torchdistx"),
    (r"adamw_torch_[48]bit", "torchao", "torchao"),
    (r"galore_.*8bit", "bitsandbytes", "bitsandbytes"),
    (r"galore_.*", "galore_torch", "galore-torch"),
    (r"apollo_.*", "apollo_torch", "apollo-torch"),
    (r"lomo|adalomo", "lomo_optim", "lomo-optim"),
    (r"grokadamw", "grokadamw", "grokadamw"),
    (r"schedule_free_.*", "schedulefree", "schedulefree"),
    (r"stable_adamw", "optimi", "torch-optimi"),
    (r"adam_mini", "adam_mini", "adam-mini"),
    (r"adamw_bnb_8bit|ademamix.*|lion_.*|paged_.*|rmsprop_bnb.*|adamw_8bit", "bitsandbytes", "bitsandbytes"),
)
"""(optimisers, the module that they need, what pip calls it)."""


def check(cfg: TrainConfig, args: TrainingArguments) -> None:
    """Refuse an optimiser that can't work here.

    Raises:
        RunError: it needs a package, a GPU, or to be alone.
    """
    for name, key in _wanted(cfg):
        _check_device(name, key)
        for pattern, module, package in PACKAGES:
            if re.fullmatch(pattern, name) and importlib.util.find_spec(module) is None:
                raise RunError(f"{key} needs the package {package}, which is not installed: pip install {package}")
        if name == "muon" and not hasattr(torch.optim, "Muon"):
            raise RunError(f"{key} needs torch 2.9 or newer, this is {torch.__version__}; leave it out")
    if args.world_size > 1:
        _check_alone(cfg, args.world_size)


def _wanted(cfg: TrainConfig) -> list[tuple[str, str]]:
    """(what the tables call it, what the user wrote)."""
    optim, chosen = effective_optim(cfg), method(cfg)
    said = (optim, f"optim: {optim}")
    if chosen in ("galore", "apollo"):
        eight = "8bit" in optim
        return [
            (f"{chosen}_adamw{'_8bit' if eight else ''}", f"use_{chosen} with {said[1]}"),
            *([said] if eight else []),
        ]
    if chosen in ("adam_mini", "muon"):
        return [(chosen, f"use_{chosen}")]
    return [said]


def _check_device(name: str, key: str) -> None:
    if name in DEVICES:
        raise RunError(f"{key} needs {DEVICES[name]}, which we do not support; take adamw_torch_fused")
    if name in GPU_ONLY and not torch.cuda.is_available():
        raise RunError(f"{key} needs an NVIDIA GPU, which is not here; its variants without 8bit run on a CPU")


def _check_alone(cfg: TrainConfig, ranks: int) -> None:
    chosen = method(cfg)
    if chosen == "badam":
        raise RunError(f"use_badam runs in one process, not {ranks}: each rank would learn another gradient's block")
    if is_layerwise(cfg):
        optim = effective_optim(cfg)
        name = f"optim: {optim}" if chosen is None else f"{chosen}_layerwise"
        instead = "adafactor" if optim in IN_BACKWARD else "the same without layerwise"
        raise RunError(
            f"{name} runs in one process, not {ranks}: it steps before the other ranks' gradients are there; "
            f"take {instead}"
        )
