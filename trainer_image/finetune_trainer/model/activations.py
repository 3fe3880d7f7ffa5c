"""Gradient checkpointing: activations computed again in the backward pass instead of kept."""

from __future__ import annotations

from transformers import PreTrainedModel

from finetune_trainer.config import TrainConfig


def spare(cfg: TrainConfig, model: PreTrainedModel) -> None:
    """Turn it on, unless the configuration turns it off.

    Inputs must want gradients, or re-entrant checkpointing yields none above a frozen base.
    """
    if cfg.model.disable_gradient_checkpointing:
        return
    arguments = {"use_reentrant": cfg.model.use_reentrant_gc}
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=arguments)
    else:  # transformers 4
        model.gradient_checkpointing_enable(arguments)  # type: ignore[no-untyped-call]
    model.enable_input_require_grads()  # type: ignore[no-untyped-call]
