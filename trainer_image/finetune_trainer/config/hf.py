"""TrainConfig -> keyword arguments of transformers' TrainingArguments, for 4.53 as for 5.23."""

from __future__ import annotations

from typing import Any

from finetune_trainer.config.key import info
from finetune_trainer.config.train_config import TrainConfig
from finetune_trainer.config.violations import ConfigInvalid, Violation


def to_training_arguments(cfg: TrainConfig, *, accepted: frozenset[str]) -> dict[str, Any]:
    """Keyword arguments for a TrainingArguments class that has the fields `accepted`.

    Says every key that has an effect, so that the class's own defaults (which change between versions) never decide.
    Left to the trainer: `output_dir`, `resume_from_checkpoint`, `overwrite_output_dir` (its folders), `deepspeed` (see
    `finetune_trainer.deepspeed.resolve`), gradient checkpointing (the model's), and the order of rows where it is not
    random and the class has no `train_sampling_strategy`.

    Raises:
        ConfigInvalid: a key that the user said has no counterpart in this version of transformers.
    """
    arguments = _translated(cfg, accepted)
    missing: list[Violation] = []
    for name, field in type(cfg.training).model_fields.items():
        value = getattr(cfg.training, name)
        if not info(field).passed or name in arguments:
            continue
        if name in accepted:
            arguments[name] = value
        elif value != field.default:
            missing.append(
                Violation(path=name, message="the installed transformers has no such setting; leave it out")
            )
    if missing:
        raise ConfigInvalid(tuple(missing))
    return arguments


def _translated(cfg: TrainConfig, accepted: frozenset[str]) -> dict[str, Any]:
    training = cfg.training
    arguments: dict[str, Any] = {
        "optim": "adafactor" if training.adafactor else training.optim,
        "report_to": "none",
        "remove_unused_columns": False,
        "label_names": ["labels"],
        "include_num_input_tokens_seen": False,  # the trainer counts by itself; transformers would count once more
        **({"debug": " ".join(training.debug)} if training.debug else {}),
        **({"logging_dir": training.logging_dir} if training.logging_dir and "logging_dir" in accepted else {}),
        "greater_is_better": _greater_is_better(cfg),
        # or a resumed run would have forgotten how many evaluations brought nothing
        "restore_callback_states_from_checkpoint": cfg.finetuning.early_stopping_steps is not None,
        **_warmup(cfg, accepted),
        **_order_of_rows(cfg, accepted),
        **{name: _whole(getattr(training, name)) for name in ("logging_steps", "eval_steps", "save_steps")},
    }
    if cfg.finetuning.finetuning_type == "lora":
        # LLaMA-Factory: looking for unused weights costs a pass over all frozen ones.
        arguments["ddp_find_unused_parameters"] = bool(training.ddp_find_unused_parameters)
    return arguments


def _warmup(cfg: TrainConfig, accepted: frozenset[str]) -> dict[str, Any]:
    """5.23 takes a share as `warmup_steps` below 1 and rounds it up, as 4.53 does with `warmup_ratio`."""
    steps = cfg.training.warmup_steps
    share = cfg.training.warmup_ratio or (steps if steps < 1 else 0.0)
    if "warmup_ratio" in accepted:
        return {"warmup_steps": 0 if share else int(steps), "warmup_ratio": share}
    return {"warmup_steps": share or int(steps)}


def _order_of_rows(cfg: TrainConfig, accepted: frozenset[str]) -> dict[str, Any]:
    grouped = cfg.training.group_by_length or cfg.training.train_sampling_strategy == "group_by_length"
    if "train_sampling_strategy" not in accepted:
        return {"group_by_length": grouped}
    in_order = cfg.finetuning.disable_shuffling or cfg.training.train_sampling_strategy == "sequential"
    return {"train_sampling_strategy": "group_by_length" if grouped else "sequential" if in_order else "random"}


def _greater_is_better(cfg: TrainConfig) -> bool | None:
    """Transformers takes what ends in loss for low; perplexities are low, too."""
    training = cfg.training
    if training.greater_is_better is None and (training.metric_for_best_model or "").endswith("perplexity"):
        return False
    return training.greater_is_better


def _whole(steps: float | None) -> float | None:
    """Steps as int; a share of all steps stays as it is."""
    return int(steps) if steps is not None and steps >= 1 else steps
