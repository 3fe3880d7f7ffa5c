"""Layers replaced by faster or leaner ones, after loading and before adapters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from finetune_trainer.config import TrainConfig
from finetune_trainer.failures import RunError
from finetune_trainer.model import precision, routers
from finetune_trainer.model.quantisation import needs

LOSS_BY_MODEL = ("pt", "sft")
"""Stages that never look at logits; elsewhere Liger must not fuse the output layer into the loss."""
NOT_EIGHT_BIT = ("embed", "lm_head", "output", "classifier")
"""Layers that would lose too much in eight bits (LLaMA-Factory's train/fp8_utils.py)."""
EIGHT_BIT_STEP = 16
"""FP8 kernels take widths that are multiples of it."""


def apply(cfg: TrainConfig, model: PreTrainedModel) -> None:
    """Replace what the keys ask for.

    Raises:
        RunError: a package or a GPU that it needs is not here, or it does not know this model.
    """
    routers.check(cfg, model)
    if cfg.model.enable_liger_kernel or cfg.training.use_liger_kernel:
        _check_liger(cfg)
        _fuse(cfg, model)
    if cfg.training.fp8:
        _check_fp8(cfg)
        compute_in_fp8(model)
    precision.upcast(cfg, model)


def liger_settings(cfg: TrainConfig) -> Mapping[str, Any]:
    """Which of Liger's kernels; logits are needed outside pt and sft."""
    wished = dict(cfg.training.liger_kernel_config or {})
    if cfg.finetuning.stage in LOSS_BY_MODEL:
        return wished
    return {"cross_entropy": True, **wished, "fused_linear_cross_entropy": False}


def compute_in_fp8(model: nn.Module, config: Any = None) -> None:  # noqa: ANN401 - torchao's Float8LinearConfig
    """Turn linear layers into torchao's, which multiply in eight-bit floats with a scale for each row.

    accelerate does the same when `mixed_precision` is fp8; done here, nothing of the process is changed.
    """
    from torchao.float8 import Float8LinearConfig, convert_to_float8_training  # type: ignore[import-not-found]

    convert_to_float8_training(
        model,
        config=config or Float8LinearConfig.from_recipe_name("rowwise"),
        module_filter_fn=takes_fp8,
    )


def takes_fp8(module: nn.Module, name: str) -> bool:
    """Whether FP8 kernels can take this layer."""
    return (
        isinstance(module, nn.Linear)
        and not any(part in name.lower() for part in NOT_EIGHT_BIT)
        and module.in_features % EIGHT_BIT_STEP == 0
        and module.out_features % EIGHT_BIT_STEP == 0
    )


def _check_liger(cfg: TrainConfig) -> None:
    key = "enable_liger_kernel" if cfg.model.enable_liger_kernel else "use_liger_kernel"
    if not precision.on_gpu(cfg):
        raise RunError(f"{key}: Liger's kernels are written for GPUs, and this run has none; leave it out")
    needs.package("liger_kernel", f"{key}: it", instead="install liger-kernel, or leave it out")


def _fuse(cfg: TrainConfig, model: PreTrainedModel) -> None:
    from liger_kernel.transformers import _apply_liger_kernel_to_instance  # type: ignore[import-not-found]
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN  # type: ignore[import-not-found]

    kind = model.config.model_type
    if kind not in MODEL_TYPE_TO_APPLY_LIGER_FN:
        raise RunError(f"enable_liger_kernel: Liger has no kernels for models of type {kind}; leave it out")
    _apply_liger_kernel_to_instance(model=model, **liger_settings(cfg))


def _check_fp8(cfg: TrainConfig) -> None:
    if not precision.on_gpu(cfg):
        raise RunError(
            "fp8: needs a GPU that computes in FP8 (Ada, Hopper or newer), and this run has none; write bf16"
        )
    if torch.cuda.get_device_capability() < (8, 9):
        raise RunError(f"fp8: {torch.cuda.get_device_name()} cannot compute in FP8; leave it out, bf16 stays")
    needs.package("torchao", "fp8: it", instead="install torchao, or leave it out")
