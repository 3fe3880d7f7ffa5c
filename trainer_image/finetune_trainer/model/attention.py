"""Which attention kernel a model is loaded with."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PretrainedConfig
from transformers.utils import import_utils

from finetune_trainer.config import TrainConfig
from finetune_trainer.failures import RunError
from finetune_trainer.model import precision, shifted

_NAMES = {
    "auto": None,
    "disabled": "eager",
    "sdpa": "sdpa",
    "fa2": "flash_attention_2",
    "fa3": "flash_attention_3",
    "flex": "flex_attention",
}
_SINKS = "kernels-community/vllm-flash-attn3"
"""FlashAttention 3 with the sinks that gpt_oss needs; transformers fetches it through the package kernels."""
_LLAMA = "llama"


def chosen(cfg: TrainConfig, config: PretrainedConfig) -> dict[str, Any]:
    """`attn_implementation` for loading, if there is a wish.

    Raises:
        RunError: this machine or this model has not what was asked for.
    """
    if cfg.model.shift_attn:
        if config.model_type != _LLAMA:
            raise RunError(
                f"shift_attn: only for models of type {_LLAMA}, not {config.model_type}; long rows take less memory "
                "with flash_attn: fa2 too, and rope_scaling stretches positions"
            )
        return {"attn_implementation": shifted.register(cfg.data.cutoff_len)}
    wish: str = cfg.model.flash_attn
    if getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None:
        wish = _capped(wish, config)
    if wish in ("fa2", "fa3", "flex"):
        _check(cfg, config, wish)
    if config.model_type == "gpt_oss" and wish == "fa3":
        return {"attn_implementation": _SINKS}
    name = _NAMES[wish]
    return {} if name is None else {"attn_implementation": name}


def _capped(wish: str, config: PretrainedConfig) -> str:
    """Gemma 2 caps its scores: sdpa cannot, FlashAttention 2 and the plain kernel can."""
    if wish == "sdpa":
        raise RunError(
            f"flash_attn: sdpa cannot cap attention scores, which a model of type {config.model_type} does; "
            "write auto, fa2 or disabled"
        )
    if wish == "auto":
        return "fa2" if import_utils.is_flash_attn_2_available() else "disabled"
    return wish


def _check(cfg: TrainConfig, config: PretrainedConfig, wish: str) -> None:
    if not precision.on_gpu(cfg):
        raise RunError(
            f"flash_attn: {wish} needs a GPU, and this run has none; write flash_attn: sdpa, or leave it out"
        )
    if wish == "flex":
        return
    if config.model_type == "gpt_oss" and wish == "fa2":
        raise RunError("flash_attn: fa2 knows no attention sinks, which gpt_oss has; write fa3, or leave it out")
    sinks = config.model_type == "gpt_oss"
    package = "kernels" if sinks else {"fa2": "flash-attn", "fa3": "flash-attn-3"}[wish]
    here = {
        "kernels": import_utils.is_kernels_available,
        "flash-attn": import_utils.is_flash_attn_2_available,
        "flash-attn-3": import_utils.is_flash_attn_3_available,
    }[package]
    if not here():
        raise RunError(
            f"flash_attn: {wish} needs the Python package {package}, which is not installed here or not for this GPU; "
            "write flash_attn: sdpa, or leave it out"
        )
    if precision.weights_dtype(cfg, precision.stored_dtype(config)) is torch.float32:
        raise RunError(f"flash_attn: {wish} computes in half precision only; write bf16: true")
