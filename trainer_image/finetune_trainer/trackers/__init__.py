"""Trackers: the metrics of a run on their way to TensorBoard, W&B, MLflow, Trackio and SwanLab.

Law: transformers' and SwanLab's own callbacks do the reporting; here is decided which, where to, and under which name.
Only the first rank reports. What a tracker gets of the configuration holds no secret: those are refused at the door,
and addresses lose their credentials.
"""

from __future__ import annotations

from finetune_trainer.trackers.build import build, finish, require

__all__ = ["build", "finish", "require"]
