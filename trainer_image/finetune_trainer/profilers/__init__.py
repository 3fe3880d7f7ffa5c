"""Profilers: where the time of a step goes, written for people who look for it.

Law: watches; never changes how training goes. Without its keys nothing of it is there.
"""

from __future__ import annotations

from pathlib import Path

from transformers import TrainerCallback

from finetune_trainer.config import TrainConfig
from finetune_trainer.profilers.modules import ModuleTimes
from finetune_trainer.profilers.steps import StepProfiler

__all__ = ["build"]


def build(cfg: TrainConfig, *, output_dir: Path, rank: int) -> list[TrainerCallback]:
    """The callbacks that the configuration asks for, on every rank."""
    made: list[TrainerCallback] = []
    if cfg.training.enable_torch_profiler:
        folder = Path(cfg.training.profiler_output_dir or output_dir / "profiler")
        made.append(StepProfiler(cfg, folder / f"rank_{rank}"))
    if cfg.training.profile_modules:
        made.append(ModuleTimes(cfg.training.profile_modules, output_dir / "profiler" / f"modules_rank_{rank}.jsonl"))
    return made
