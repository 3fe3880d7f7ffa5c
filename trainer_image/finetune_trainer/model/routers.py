"""moe_aux_loss_coef: the loss that keeps the routers of a mixture of experts balanced."""

from __future__ import annotations

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from finetune_trainer.config import TrainConfig
from finetune_trainer.failures import RunError
from finetune_trainer.model.tuning import adapters

COEFFICIENTS = ("router_aux_loss_coef", "aux_loss_coef", "aux_loss_alpha")
"""What configurations call it: most, jetmoe, deepseek's own code."""


def balance(cfg: TrainConfig, config: PretrainedConfig) -> None:
    """Set the loss's weight, and have the routers' scores put out, which it is made of.

    Raises:
        RunError: the model has no routers.
    """
    if not cfg.model.moe_aux_loss_coef:
        return
    text = config.get_text_config()
    name = next((name for name in COEFFICIENTS if hasattr(text, name)), None)
    if name is None and not hasattr(text, "ffn_config"):
        raise _unbalanced(config)
    if name is None:  # dbrx
        text.ffn_config.moe_loss_weight = cfg.model.moe_aux_loss_coef
    else:
        setattr(text, name, cfg.model.moe_aux_loss_coef)
    if hasattr(text, "output_router_logits"):
        text.output_router_logits = True


def check(cfg: TrainConfig, model: PreTrainedModel) -> None:
    """After loading: some models carry the setting and never read it (llama4).

    Raises:
        RunError: this model computes no such loss.
    """
    if cfg.model.moe_aux_loss_coef and coefficient(model) is None:
        raise _unbalanced(model.config)


def coefficient(model: nn.Module) -> float | None:
    """By what the model multiplies the balancing loss that it adds to its own; None if it adds none."""
    base = adapters.beneath(model)
    for holder in (base, getattr(base, "model", None)):
        for name in COEFFICIENTS:
            found = getattr(holder, name, None)
            if found is not None:
                return float(found)
    return None


def _unbalanced(config: PretrainedConfig) -> RunError:
    return RunError(
        f"moe_aux_loss_coef: a model of type {config.model_type} adds no balancing loss of routers to its own; "
        "leave it out"
    )
