"""A base model as its folder or hub has it: configuration, weights, number types; nothing is trained yet."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from finetune_trainer.config import TrainConfig
from finetune_trainer.model import leaves, precision, quantisation, settings
from finetune_trainer.model.sources import hub_arguments, named


def sharded() -> bool:
    """Whether weights are split over the ranks while they load: ZeRO-3. Known from the training arguments."""
    return bool(is_deepspeed_zero3_enabled())  # type: ignore[no-untyped-call]


def load_base(cfg: TrainConfig, *, device: torch.device) -> PreTrainedModel:
    """Load `model_name_or_path`, quantised where the configuration or the folder says so.

    Raises:
        ModelNotFound: the model is not there.
        RunError: a setting does not fit this model, or its quantisation needs what is not here.
    """
    with named(cfg.model.model_name_or_path, "model_name_or_path") as source:
        config = AutoConfig.from_pretrained(source, **hub_arguments(cfg.model))
        settings.apply(cfg, config)
        model = _random(cfg, config) if cfg.model.train_from_scratch else _stored(cfg, config, source, device)
    if sharded():
        leaves.keep_whole(model)
    return model


def _stored(cfg: TrainConfig, config: PretrainedConfig, source: str, device: torch.device) -> PreTrainedModel:
    arguments = _arguments(cfg, config, device)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        source, config=config, **arguments, **hub_arguments(cfg.model)
    )
    return model


def _random(cfg: TrainConfig, config: PretrainedConfig) -> PreTrainedModel:
    dtype = {precision.DTYPE_ARGUMENT: precision.weights_dtype(cfg, None)}
    model: PreTrainedModel = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
        config, trust_remote_code=cfg.model.trust_remote_code, **dtype, **settings.attention(cfg, config)
    )
    return model


def _arguments(cfg: TrainConfig, config: PretrainedConfig, device: torch.device) -> dict[str, Any]:
    stored = getattr(config, "dtype", None) or getattr(config, "torch_dtype", None)
    arguments: dict[str, Any] = {precision.DTYPE_ARGUMENT: precision.weights_dtype(cfg, stored)}
    arguments |= settings.attention(cfg, config)
    if not sharded():
        arguments["low_cpu_mem_usage"] = cfg.model.low_cpu_mem_usage
        if device.type != "cpu" and cfg.model.low_cpu_mem_usage:
            arguments["device_map"] = {"": device}
    return arguments | quantisation.arguments(cfg, config, device)
