"""The model, from its folder or hub to the point where a Trainer can take it."""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from finetune_trainer.config import TrainConfig
from finetune_trainer.failures import RunError
from finetune_trainer.model import adapter, precision
from finetune_trainer.model.sources import hub_arguments, named

_ATTENTION = {"auto": None, "disabled": "eager", "sdpa": "sdpa", "fa2": "flash_attention_2"}


def load(cfg: TrainConfig, tokenizer: PreTrainedTokenizerBase, *, device: torch.device) -> PreTrainedModel | PeftModel:
    """Load the base model and make its weights or an adapter's trainable; an adapter begins with random numbers.

    Under ZeRO-3 (transformers knows from the training arguments, which must be made before) weights are split over
    the ranks while they are loaded.

    Raises:
        ModelNotFound: the model or an adapter is not there.
        RunError: the template's tokens do not fit the model, or lora_target names no layer of it.
    """
    sharded = bool(is_deepspeed_zero3_enabled())  # type: ignore[no-untyped-call]
    with named(cfg.model.model_name_or_path, "model_name_or_path") as source:
        config = AutoConfig.from_pretrained(source, **hub_arguments(cfg.model))
        model = AutoModelForCausalLM.from_pretrained(
            source, config=config, **_arguments(cfg, config, device, sharded=sharded), **hub_arguments(cfg.model)
        )
    _check_vocabulary(config, tokenizer)
    _make_generation_valid(model)
    model.config.use_cache = False
    if not cfg.model.disable_gradient_checkpointing:
        _checkpoint_activations(model, reentrant=cfg.model.use_reentrant_gc)
    trained = adapter.make_trainable(cfg, model)
    precision.upcast_trainable(cfg, trained, sharded=sharded)
    return trained


def _arguments(cfg: TrainConfig, config: PretrainedConfig, device: torch.device, *, sharded: bool) -> dict[str, Any]:
    stored = getattr(config, "dtype", None) or getattr(config, "torch_dtype", None)
    arguments: dict[str, Any] = {precision.DTYPE_ARGUMENT: precision.weights_dtype(cfg, stored)}
    attention = _ATTENTION.get(cfg.model.flash_attn)
    if attention is not None:
        arguments["attn_implementation"] = attention
    if not sharded:
        arguments["low_cpu_mem_usage"] = cfg.model.low_cpu_mem_usage
        if device.type == "cuda" and cfg.model.low_cpu_mem_usage:
            arguments["device_map"] = {"": device}
    return arguments


def _check_vocabulary(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    rows = getattr(config.get_text_config(), "vocab_size", None)
    if rows is not None and len(tokenizer) > rows:
        raise RunError(
            f"the tokenizer has {len(tokenizer)} tokens, the model {rows} embeddings: the template adds tokens that "
            "this model does not know; take the template that belongs to the model"
        )


def _make_generation_valid(model: PreTrainedModel) -> None:
    """Some models ship sampling settings without do_sample; transformers would refuse to save them."""
    generation = getattr(model, "generation_config", None)
    if generation is not None and not generation.do_sample and _samples(generation):
        generation.do_sample = True


def _samples(generation: Any) -> bool:  # noqa: ANN401 - GenerationConfig, untyped
    unset = (None, 1.0)
    return any(getattr(generation, name, None) not in unset for name in ("temperature", "top_p", "typical_p"))


def _checkpoint_activations(model: PreTrainedModel, *, reentrant: bool) -> None:
    """Compute activations again in the backward pass. Inputs must want gradients, or a frozen base yields none."""
    arguments = {"use_reentrant": reentrant}
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=arguments)
    else:  # transformers 4
        model.gradient_checkpointing_enable(arguments)  # type: ignore[no-untyped-call]
    model.enable_input_require_grads()  # type: ignore[no-untyped-call]
