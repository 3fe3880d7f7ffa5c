"""Stages: one file per method, each a `build(...)` that returns a transformers Trainer, and what they share.

Law: nothing here writes under output_dir or reads rows; what differs between methods lives here and nowhere else.
"""

from __future__ import annotations

from finetune_trainer.config import TrainConfig
from finetune_trainer.stages import dpo, kto, ppo, pt, rm, sft
from finetune_trainer.stages.arguments import arguments
from finetune_trainer.stages.parts import Parts
from finetune_trainer.stages.remembered import Patience
from finetune_trainer.stages.trainer import GlobalTrainer

__all__ = ["GlobalTrainer", "Parts", "Patience", "arguments", "build"]

BUILDERS = {"dpo": dpo.build, "pt": pt.build, "sft": sft.build, "rm": rm.build, "ppo": ppo.build, "kto": kto.build}


def build(cfg: TrainConfig, parts: Parts) -> GlobalTrainer:
    """The trainer of the configuration's stage.

    Raises:
        RunError: the stage asks for what this model or this machine has not.
    """
    return BUILDERS[cfg.finetuning.stage](cfg, parts)
