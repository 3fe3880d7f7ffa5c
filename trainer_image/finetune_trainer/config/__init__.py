"""The contract: LLaMA-Factory's keys -> TrainConfig, or ConfigInvalid with every wrong key.

Law: no torch, no transformers, nothing heavy, because the operator imports this room. Only `load` opens files: the one
that it is given, and a DeepSpeed file named in there. This room knows the keys and the rules between them, not what a
template, a data set or a trainer makes of them.
"""

from finetune_trainer.config.alike import alike
from finetune_trainer.config.hf import to_training_arguments
from finetune_trainer.config.loader import load_yaml
from finetune_trainer.config.parse import dump, from_words, load, parse
from finetune_trainer.config.schema import schema
from finetune_trainer.config.train_config import TrainConfig
from finetune_trainer.config.violations import ConfigInvalid, Violation

__all__ = [
    "ConfigInvalid",
    "TrainConfig",
    "Violation",
    "alike",
    "dump",
    "from_words",
    "load",
    "load_yaml",
    "parse",
    "schema",
    "to_training_arguments",
]
