"""Which number type weights have, by LLaMA-Factory's rules."""

from __future__ import annotations

import torch
import transformers
from torch import nn

from finetune_trainer.config import TrainConfig

DTYPE_ARGUMENT = "dtype" if int(transformers.__version__.partition(".")[0]) >= 5 else "torch_dtype"
"""What `from_pretrained` calls it."""


def weights_dtype(cfg: TrainConfig, stored: torch.dtype | None) -> torch.dtype:
    """The type that the base model is loaded in: what the run computes in, else what is stored if the device can."""
    if cfg.training.bf16 or cfg.finetuning.pure_bf16:
        return torch.bfloat16
    if cfg.training.fp16:
        return torch.float16
    on_gpu = torch.cuda.is_available() and not cfg.training.use_cpu
    if stored is torch.bfloat16 and on_gpu and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    if stored is torch.float16 and on_gpu:
        return torch.float16
    return torch.float32


def upcast_trainable(cfg: TrainConfig, model: nn.Module, *, sharded: bool) -> None:
    """Trained weights become float32; not with pure_bf16, nor under ZeRO-3, which keeps float32 copies itself."""
    if cfg.finetuning.pure_bf16 or sharded:
        return
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)
