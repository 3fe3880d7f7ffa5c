"""What keys must not say together. Each rule yields the keys that it looks at, the one to change first.

Law: pure; a rule knows keys and their values, no model, no row, no package that is or is not installed. One file for
each subject; a rule says what to write instead.
"""

from __future__ import annotations

from finetune_trainer.config.rules import (
    data,
    distribution,
    evaluation,
    general,
    kernels,
    methods,
    optimisers,
    quantisation,
    tracking,
    tuning,
)
from finetune_trainer.config.rules.broken import Broken, Rule
from finetune_trainer.config.train_config import TrainConfig
from finetune_trainer.config.violations import Fault

RULES: tuple[Rule, ...] = (
    *general.RULES,
    *data.RULES,
    *methods.RULES,
    *tuning.RULES,
    *quantisation.RULES,
    *optimisers.RULES,
    *distribution.RULES,
    *kernels.RULES,
    *evaluation.RULES,
    *tracking.RULES,
)


def broken(cfg: TrainConfig, *, wrong: frozenset[str], complete: bool) -> tuple[Fault, ...]:
    """Every rule that `cfg` breaks, without rules that look at a key that is `wrong` by itself."""
    rules = (*RULES, _complete) if complete else RULES
    found = ((keys, message) for rule in rules for keys, message in rule(cfg))
    return tuple(Fault(key=keys[0], message=message) for keys, message in found if wrong.isdisjoint(keys))


def _complete(cfg: TrainConfig) -> Broken:
    if not cfg.model.model_name_or_path:
        yield ("model_name_or_path",), "missing; the hub id or folder of the base model"
    held_out = bool(cfg.data.eval_dataset) and not cfg.training.do_train
    if not cfg.data.dataset and not cfg.data.tokenized_path and not held_out:
        yield ("dataset",), "missing; names of data sets in dataset_info.json"
    if not cfg.training.output_dir:
        yield ("output_dir",), "missing; the folder for all that the run writes"
