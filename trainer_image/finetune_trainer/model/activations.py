"""Gradient checkpointing: activations computed again in the backward pass instead of kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from peft import PeftModel
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from finetune_trainer.config import TrainConfig, checkpointing
from finetune_trainer.failures import RunError
from finetune_trainer.model import activation_memory, precision
from finetune_trainer.model.tuning import adapters


def spare(cfg: TrainConfig, trained: PreTrainedModel | PeftModel, *, memory: Callable[[], int | None]) -> None:
    """Turn it on, unless the configuration turns it off, or says nothing of it and there is room for all activations.

    Inputs must want gradients, or re-entrant checkpointing yields none above a frozen base.

    Args:
        cfg: what is said.
        trained: the model, under its adapter if it has one.
        memory: tells the bytes that are free for the training; None: unknown.

    Raises:
        RunError: the model cannot do so, or use_unsloth_gc has nowhere to spare memory.
    """
    if cfg.model.disable_gradient_checkpointing:
        return
    if _may_choose(cfg, trained) and (free := memory()) is not None and activation_memory.fit(cfg, trained, free):
        return
    model = cast("PreTrainedModel", adapters.beneath(trained))
    if not model.supports_gradient_checkpointing:
        raise RunError(
            f"disable_gradient_checkpointing: a model of type {model.config.model_type} knows no gradient "
            "checkpointing; write true"
        )
    if cfg.model.use_unsloth_gc and not precision.on_gpu(cfg):
        raise RunError(
            "use_unsloth_gc: needs a GPU, from which it moves activations to the host's memory; leave it out, "
            "gradient checkpointing is on by itself"
        )
    reentrant = cfg.model.use_reentrant_gc and not cfg.training.fsdp  # FSDP drops weights between the two passes
    again = {"use_reentrant": reentrant and not _balances_routers(model)}
    if cfg.model.use_unsloth_gc:
        offload(model, **again)
    elif hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=again)
    else:  # transformers 4
        model.gradient_checkpointing_enable(again)  # type: ignore[no-untyped-call]
    model.enable_input_require_grads()  # type: ignore[no-untyped-call]


def is_spared(trained: PreTrainedModel | PeftModel) -> bool:
    """Whether activations are computed again."""
    return any(getattr(module, "gradient_checkpointing", False) for module in trained.modules())


def _may_choose(cfg: TrainConfig, trained: nn.Module) -> bool:
    """Whether the configuration leaves it open, and the weights have reached the device where it can be measured."""
    return checkpointing.is_open(cfg) and next(trained.parameters()).is_cuda is precision.on_gpu(cfg)


def _balances_routers(model: PreTrainedModel) -> bool:
    """transformers 5 picks up the routers' scores as layers run; re-entrant checkpointing runs them without gradients.

    The balancing loss would be logged, and move nothing.
    """
    return bool(getattr(model.config.get_text_config(), "output_router_logits", False))


def offload(model: PreTrainedModel, *, use_reentrant: bool, pin: bool = True) -> None:
    """What checkpointing keeps, one hidden state for each layer, lies in the host's memory until it is needed.

    So does Unsloth (LLaMA-Factory's model_utils/checkpointing.py); PyTorch has the means itself.
    """

    def function(layer: nn.Module, *inputs: Any, **named: Any) -> Any:  # noqa: ANN401 - a layer's
        with torch.autograd.graph.save_on_cpu(pin_memory=pin):
            return checkpoint(layer, *inputs, use_reentrant=use_reentrant, **named)

    model._set_gradient_checkpointing(enable=True, gradient_checkpointing_func=function)
