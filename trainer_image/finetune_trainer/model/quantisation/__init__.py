"""Quantised base models: made so while they load (or just after), or stored so.

Law: one file for each way; what a way cannot carry is refused here when the model is known, in `config.rules` before.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from finetune_trainer.config import TrainConfig
from finetune_trainer.failures import RunError
from finetune_trainer.model.quantisation import bitsandbytes, eetq, hqq, stored


def arguments(cfg: TrainConfig, config: PretrainedConfig, device: torch.device) -> dict[str, Any]:
    """What `from_pretrained` gets for a quantised model; nothing for a plain one.

    Raises:
        RunError: what it needs (a GPU, a package) is not here, or it does not go with the rest of the configuration.
    """
    method = stored.method(config)
    if method is not None:
        return stored.arguments(cfg, method, config)
    if cfg.model.quantization_bit is None:
        return {}
    if cfg.model.quantization_method == "bnb":
        return bitsandbytes.arguments(cfg, config, device)
    if cfg.model.quantization_method == "eetq":
        return eetq.arguments(device)
    hqq.check()
    return {}


def finish(cfg: TrainConfig, model: PreTrainedModel) -> None:
    """After loading, before adapters: quantise what could not be quantised while it loaded.

    Raises:
        RunError: the weights cannot be quantised.
    """
    if cfg.model.quantization_bit is not None and cfg.model.quantization_method == "hqq":
        hqq.quantise(model, cfg.model.quantization_bit)
    bitsandbytes.forbid_packing(model)
    stored.forget(model)


def prepare(cfg: TrainConfig, model: PreTrainedModel) -> None:
    """`finish`, and what training on quantised weights needs.

    Raises:
        RunError: the weights cannot be quantised, or are and were to be trained.
    """
    finish(cfg, model)
    if is_quantised(model):
        if cfg.finetuning.finetuning_type not in ("lora", "oft"):
            raise RunError(
                f"finetuning_type: the model is quantised, its weights cannot be trained ({_kind(model)}); write "
                "finetuning_type: lora, or give the unquantised model"
            )
        model.requires_grad_(requires_grad=False)


def is_quantised(model: nn.Module) -> bool:
    """Whether weights are packed, by any way."""
    return bool(getattr(model, "is_quantized", False)) or hqq.is_quantised(model)


def _kind(model: PreTrainedModel) -> str:
    return "hqq" if hqq.is_quantised(model) else str(stored.method(model.config))
