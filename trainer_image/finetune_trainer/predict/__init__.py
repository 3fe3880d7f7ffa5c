"""Predict: a model's answers to prompts, and how near they come to the data's.

Law: knows a model's `generate`, token ids and texts; no Trainer, no file, no data set's columns beyond prompt and
answer. Imported only by runs that generate: the packages that score are heavy.
"""

from __future__ import annotations

from finetune_trainer.predict.answers import Answer, Writer
from finetune_trainer.predict.scores import check_installed, scores
from finetune_trainer.predict.settings import Limits, limits, settings

__all__ = ["Answer", "Limits", "Writer", "check_installed", "limits", "scores", "settings"]
