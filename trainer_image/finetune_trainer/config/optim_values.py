"""What `optim`, `optim_args` and `lr_scheduler_kwargs` may say: facts about transformers' optimisers and schedules.

Source: transformers 5.23, trainer_optimizer.py and optimization.py. It ignores what it does not know; here the rules
refuse it.
"""

from __future__ import annotations

from typing import Literal

from finetune_trainer.config.train_config import TrainConfig

Method = Literal["galore", "apollo", "badam", "adam_mini", "muon", "loraplus"]

ADAMW = frozenset({"adamw_torch", "adamw_torch_fused"})
_GALORE = ("rank", "update_proj_gap", "scale", "proj_type")
_ADEMAMIX = ("alpha", "beta1", "beta2", "beta3", "eps", "t_alpha", "t_beta3")
_FREE = ("r", "weight_lr_power")
OPTIM_ARGS: dict[str, tuple[str, ...]] = {
    "sgd": ("momentum", "dampening", "nesterov", "weight_decay"),
    "adagrad": ("lr_decay", "weight_decay", "eps"),
    "rmsprop": ("momentum", "alpha", "eps", "weight_decay", "centered"),
    "grokadamw": ("alpha_init", "lamb", "gamma", "grokking_signal_decay_rate", "gradient_clipping"),
    "stable_adamw": ("decouple_lr", "max_lr", "kahan_sum"),
    "adamw_torch_4bit": ("bf16_stochastic_round",),
    "adamw_torch_8bit": ("bf16_stochastic_round",),
    **dict.fromkeys(("schedule_free_radam", "schedule_free_adamw", "schedule_free_sgd"), _FREE),
    **dict.fromkeys(("ademamix", "ademamix_8bit", "paged_ademamix_32bit", "paged_ademamix_8bit"), _ADEMAMIX),
    **dict.fromkeys(("galore_adamw", "galore_adamw_8bit", "galore_adafactor"), _GALORE),
    **dict.fromkeys(("galore_adamw_layerwise", "galore_adamw_8bit_layerwise", "galore_adafactor_layerwise"), _GALORE),
    **dict.fromkeys(("apollo_adamw", "apollo_adamw_layerwise"), (*_GALORE, "proj", "scale_type")),
}
"""optim -> the names that it takes in `optim_args`; others take none."""
WITHOUT_BETAS = frozenset(
    {"adafactor", "sgd", "adagrad", "rmsprop", "rmsprop_bnb", "rmsprop_bnb_8bit", "rmsprop_bnb_32bit", "grokadamw",
     "galore_adafactor", "galore_adafactor_layerwise", "lomo", "adalomo", "schedule_free_sgd"}
)  # fmt: skip
"""Optimisers that adam_beta1, adam_beta2 and adam_epsilon do not reach; Lion's take the betas alone."""
IN_BACKWARD = frozenset({"lomo", "adalomo"})
"""Optimisers that step during the backward pass."""

_MIN_LR = ("num_cycles", "min_lr", "min_lr_rate")
SCHEDULE_ARGS: dict[str, tuple[str, ...]] = {
    "cosine": ("num_cycles",),
    "cosine_with_restarts": ("num_cycles",),
    "polynomial": ("lr_end", "power"),
    "inverse_sqrt": ("timescale",),
    "reduce_lr_on_plateau": (
        "mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps",
    ),
    "cosine_with_min_lr": _MIN_LR,
    "cosine_warmup_with_min_lr": (*_MIN_LR, "warmup_lr_rate"),
    "warmup_stable_decay": (
        "num_decay_steps", "num_stable_steps", "warmup_type", "decay_type", "min_lr_ratio", "num_cycles",
    ),
    "greedy": (
        "mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "warmup", "min_lr", "max_lr", "eps",
        "verbose", "smooth", "window_size", "reset_start",
    ),
}  # fmt: skip
"""lr_scheduler_type -> the names that it takes in `lr_scheduler_kwargs`; others take none."""
WITHOUT_WARMUP = frozenset({"constant", "reduce_lr_on_plateau", "greedy"})


def optim_arguments(said: str | None) -> dict[str, str]:
    """`a=1, b=2` as a mapping.

    Raises:
        ValueError: not of that form.
    """
    pairs = [part.partition("=") for part in (said or "").replace(" ", "").split(",") if part]
    if not all(name and sign and value for name, sign, value in pairs):
        raise ValueError(f"expected name=value, with commas between, got {said!r}")
    return {name: value for name, _, value in pairs}


def method(cfg: TrainConfig) -> Method | None:
    """The optimiser that LLaMA-Factory's own keys ask for; None: `optim` decides alone."""
    return next(iter(methods(cfg)), None)


def methods(cfg: TrainConfig) -> dict[Method, str]:
    """Optimisers that LLaMA-Factory's own keys ask for, in its order, each with its key; more than one is a fault."""
    keys = cfg.finetuning
    asked: dict[Method, tuple[str, bool]] = {
        "galore": ("use_galore", keys.use_galore),
        "apollo": ("use_apollo", keys.use_apollo),
        "loraplus": ("loraplus_lr_ratio", keys.loraplus_lr_ratio is not None),
        "badam": ("use_badam", keys.use_badam),
        "adam_mini": ("use_adam_mini", keys.use_adam_mini),
        "muon": ("use_muon", keys.use_muon),
    }
    return {name: key for name, (key, wanted) in asked.items() if wanted}


def effective_optim(cfg: TrainConfig) -> str:
    """`optim`, or what the old key `adafactor` says."""
    return "adafactor" if cfg.training.adafactor else cfg.training.optim


def is_layerwise(cfg: TrainConfig) -> bool:
    """Whether each weight is updated as soon as its gradient is there, and the gradient dropped."""
    keys, optim = cfg.finetuning, effective_optim(cfg)
    own = (keys.use_galore and keys.galore_layerwise) or (keys.use_apollo and keys.apollo_layerwise)
    return own or (method(cfg) is None and (optim.endswith("_layerwise") or optim in IN_BACKWARD))
