"""LoRA+: the B matrices of adapters learn faster than the A matrices (https://arxiv.org/abs/2402.12354).

Source for the groups: LLaMA-Factory, train/trainer_utils.py.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import TrainingArguments

from finetune_trainer.config import TrainConfig
from finetune_trainer.optimisers.groups import Group, by_name, decayed, trained


def build(cfg: TrainConfig, args: TrainingArguments, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser that `optim` names, on the groups of LoRA+."""
    ratio = cfg.finetuning.loraplus_lr_ratio
    assert ratio is not None
    return by_name(args)(groups(model, args, ratio=ratio, embedding_rate=cfg.finetuning.loraplus_lr_embedding))


def groups(model: nn.Module, args: TrainingArguments, *, ratio: float, embedding_rate: float) -> list[Group]:
    """A (and what else is trained), B with and without weight decay, and the B of embeddings."""
    names = decayed(model)
    found: dict[str, list[nn.Parameter]] = {"a": [], "b": [], "b plain": [], "embedding": []}
    for name, parameter in trained(model):
        found[_kind(name, parameter, decays=name in names)].append(parameter)
    rate, decay = args.learning_rate, args.weight_decay
    return [
        {"params": found["a"], "lr": rate, "weight_decay": decay},
        {"params": found["b"], "lr": rate * ratio, "weight_decay": decay},
        {"params": found["b plain"], "lr": rate * ratio, "weight_decay": 0.0},
        {"params": found["embedding"], "lr": embedding_rate, "weight_decay": decay},
    ]


def _kind(name: str, parameter: nn.Parameter, *, decays: bool) -> str:
    if "lora_embedding_B" in name:
        return "embedding"
    if "lora_B" in name or parameter.ndim == 1:
        return "b" if decays else "b plain"
    return "a"
