"""Which number type weights and results have, by LLaMA-Factory's rules."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from finetune_trainer.config import TrainConfig
from finetune_trainer.failures import RunError

DTYPE_ARGUMENT = "dtype" if int(transformers.__version__.partition(".")[0]) >= 5 else "torch_dtype"
"""What `from_pretrained` calls it."""
NORMS = ("norm", "ln")
"""A part of the names of all norms' weights (LLaMA-Factory's extras/constants.py)."""


def weights_dtype(cfg: TrainConfig, stored: torch.dtype | None) -> torch.dtype:
    """The type that the base model is loaded in: what the run computes in, else what is stored if the device can."""
    if cfg.training.bf16 or cfg.finetuning.pure_bf16:
        return torch.bfloat16
    if cfg.training.fp16:
        return torch.float16
    gpu = on_gpu(cfg)
    if stored is torch.bfloat16 and gpu and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    if stored is torch.float16 and gpu:
        return torch.float16
    return torch.float32


def stored_dtype(config: PretrainedConfig) -> torch.dtype | None:
    """The type that a checkpoint's weights are stored in, if its configuration says so."""
    stored: Any = getattr(config, "dtype", None) or getattr(config, "torch_dtype", None)
    return stored if isinstance(stored, torch.dtype) else None


def settle_trainable(cfg: TrainConfig, model: nn.Module, *, sharded: bool) -> None:
    """Give trained weights the type that `trained_dtype` says."""
    dtype = trained_dtype(cfg, sharded=sharded)
    for parameter in model.parameters():
        if parameter.requires_grad and dtype is not None:
            parameter.data = parameter.data.to(dtype)


def trained_dtype(cfg: TrainConfig, *, sharded: bool) -> torch.dtype | None:
    """Float32; None leaves it as it is, with pure_bf16 or BAdam, whose optimiser keeps float32 copies of a block.

    Under ZeRO-3 a base's weights stay too, and LoRA's become what DeepSpeed computes in, as they do under its other
    stages; its optimiser keeps float32 copies. peft makes them float32. DeepSpeed has no autocast, so that each
    adapted layer would keep a float32 copy of its input. Over quantised weights they are float32, as in LLaMA-Factory;
    OFT's are, too: a small turn beside a one is lost in bfloat16.
    """
    if cfg.finetuning.pure_bf16 or cfg.finetuning.use_badam:
        return None
    if not sharded or cfg.model.quantization_bit is not None:
        return torch.float32
    mixed = cfg.training.bf16 or cfg.training.fp16
    return weights_dtype(cfg, None) if mixed and cfg.finetuning.finetuning_type == "lora" else None


def upcast(cfg: TrainConfig, model: PreTrainedModel) -> None:
    """Norms' weights and the output layer's result in float32, where the keys ask for it.

    Raises:
        RunError: nothing would turn the norms' float32 results back into the other layers' type.
    """
    if cfg.model.upcast_layernorm:
        _upcast_norms(cfg, model)
    output = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if cfg.model.upcast_lmhead_output and isinstance(output, nn.Linear) and output.weight.dtype is not torch.float32:
        output.register_forward_hook(_in_float32)


def _upcast_norms(cfg: TrainConfig, model: PreTrainedModel) -> None:
    mixed = cfg.training.bf16 or cfg.training.fp16
    if not mixed and model.dtype is not torch.float32:
        raise RunError(
            f"upcast_layernorm: the model computes in {str(model.dtype).removeprefix('torch.')} without mixed "
            "precision, its layers cannot take a norm's float32 result; write bf16: true, or leave it out"
        )
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 and any(part in name for part in NORMS):
            parameter.data = parameter.data.to(torch.float32)


def _in_float32(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:  # noqa: ANN401, ARG001
    return output.to(torch.float32)


def on_gpu(cfg: TrainConfig) -> bool:
    """Whether this run computes on a GPU."""
    return torch.cuda.is_available() and not cfg.training.use_cpu
