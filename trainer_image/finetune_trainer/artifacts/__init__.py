"""Artifacts: all that a run leaves under output_dir, under LLaMA-Factory's names.

Law: writes files that people and other tools read; decides nothing about training. Checkpoints belong to
`checkpoints`.
"""

from __future__ import annotations

from finetune_trainer.artifacts.completion import complete, end
from finetune_trainer.artifacts.results import (
    describe,
    evaluate,
    save_data_report,
    save_predictions,
    save_trained,
)
from finetune_trainer.artifacts.throughput import Throughput
from finetune_trainer.artifacts.trainer_log import TrainerLog
from finetune_trainer.artifacts.zero_config import ZeroConfig

__all__ = [
    "Throughput",
    "TrainerLog",
    "ZeroConfig",
    "complete",
    "describe",
    "end",
    "evaluate",
    "save_data_report",
    "save_predictions",
    "save_trained",
]
