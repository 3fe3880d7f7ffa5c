"""Pure: all that is told of a training's size, in one value: for the terminal, as JSON, and for a job's status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finetune_trainer.config import TrainConfig
from finetune_trainer.sizing import fit, steps
from finetune_trainer.sizing.architecture import Architecture
from finetune_trainer.sizing.estimate import Estimate, estimate
from finetune_trainer.sizing.fit import Cell, Plan
from finetune_trainer.sizing.machine import Machine
from finetune_trainer.sizing.moments import Parts
from finetune_trainer.sizing.steps import Course

PARTS = ("weights", "gradients", "optimiser", "activations", "logits", "buffers", "overhead")


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """An estimate and what follows from it. Where the GPU's memory is unknown, nothing follows."""

    machine: Machine
    estimate: Estimate
    course: Course
    fits: bool | None = None
    turning_length: int | None = None
    """The longest cutoff_len that fits; 0: none; None: any, or unknown."""
    table: tuple[Cell, ...] = ()
    nearest: Plan | None = None
    """What would fit, where this does not."""
    leanest: Plan | None = None
    """Where nothing fits, what takes least."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON; bytes are whole numbers."""
        found = self.estimate
        return {
            "nodes": self.machine.nodes,
            "processes_per_node": self.machine.processes,
            "gpu_memory": self.machine.memory,
            "parameters": found.parameters,
            "trained": found.trained,
            "checkpointing": found.checkpointing,
            "moment": found.moment,
            "total": round(found.total),
            "moments": {name: _parts(parts) for name, parts in found.moments.items()},
            "host": round(found.host),
            "fits": self.fits,
            "turning_length": self.turning_length,
            "table": [
                {"micro_batch": cell.micro_batch, "way": cell.way, "total": round(cell.total), "fits": cell.fits}
                for cell in self.table
            ],
            "nearest": _plan(self.nearest),
            "leanest": _plan(self.leanest),
            "course": _course(self.course),
            "notes": list(found.notes),
        }


def report(cfg: TrainConfig, model: Architecture, on: Machine, *, rows: int | None = None) -> Report:
    """Estimate, and where the GPU's memory is known the verdict.

    Raises:
        NotSized: of a stage that is not known here.
        TargetUnknown: a key names layers that the model has not.
    """
    found = estimate(cfg, model, on)
    course = steps.of(cfg, model, on, rows=rows)
    if on.memory is None:
        return Report(machine=on, estimate=found, course=course)
    good = fit.fits(found, on)
    nearest = None if good else fit.nearest(cfg, model, on)
    return Report(
        machine=on,
        estimate=found,
        course=course,
        fits=good,
        turning_length=fit.turning_length(cfg, model, on),
        table=fit.table(cfg, model, on),
        nearest=nearest,
        leanest=None if good or nearest else fit.leanest(cfg, model, on),
    )


def _parts(parts: Parts) -> dict[str, int]:
    return {name: round(getattr(parts, name)) for name in (*PARTS, "total")}


def _plan(plan: Plan | None) -> Mapping[str, Any] | None:
    return None if plan is None else {"changes": dict(plan.changes), "total": round(plan.estimate.total)}


def _course(course: Course) -> dict[str, Any]:
    return {
        "global_batch": course.global_batch,
        "tokens_per_step": course.tokens_per_step,
        "steps": course.steps,
        "tokens": course.tokens,
        "checkpoints": course.checkpoints,
        "checkpoint_bytes": round(course.checkpoint_bytes),
        "model_bytes": round(course.model_bytes),
        "disk": None if course.disk is None else round(course.disk),
    }
