"""Does it fit: `sizing`'s answer for the job, as far as the model's description tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetune_trainer import sizing
from finetune_trainer.config import TrainConfig
from finetune_trainer.records import RunSpec
from finetune_trainer.sizing import Machine, facts


@dataclass(frozen=True, kw_only=True, slots=True)
class Sized:
    """What is known of the training's size; None: it can't be told, and `words` say why."""

    words: str
    parameters: int | None = None
    memory: int | None = None
    """Bytes of one rank."""
    fits: bool | None = None
    instead: str = ""
    """The nearest plan that would fit; empty where it fits, or nothing is known."""
    steps: int | None = None


def of(cfg: TrainConfig, run: RunSpec, *, gpu_memory: str | None, rows: int | None) -> Sized:
    """The job's size on its own nodes. A model that can't be sized is no reason to stop."""
    on = Machine(
        nodes=run.nodes,
        processes=run.processes_per_node,
        memory=sizing.bytes_of(gpu_memory) if gpu_memory else None,
        gpu=run.gpus_per_node > 0,
    )
    folder = Path(cfg.model.model_name_or_path or "")
    if not folder.is_dir():
        return Sized(words=f"its size is not known: {folder} is no folder")
    try:
        report = sizing.report(cfg, facts.read(folder), on, rows=rows)
    except (facts.FactsMissing, sizing.ArchitectureUnknown, sizing.NotSized, sizing.TargetUnknown) as error:
        return Sized(words=f"its size is not known: {error}")
    return Sized(
        words=sizing.in_words(report),
        parameters=report.estimate.parameters,
        memory=round(report.estimate.total),
        fits=report.fits,
        instead=sizing.instead(report),
        steps=report.course.steps,
    )
