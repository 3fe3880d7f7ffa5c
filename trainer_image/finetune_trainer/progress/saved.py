"""The last complete checkpoint, as it is told: its step, where it lies, since when."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetune_trainer import records


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """A checkpoint that counts."""

    step: int
    path: str | None = None
    """Under output_dir; None: the run began with one that lies elsewhere."""
    time: float | None = None
    """Unix seconds."""


def at(output_dir: Path, step: int) -> Saved:
    """The checkpoint of a step. Its mark is written last, so that is when it was complete."""
    folder = f"checkpoint-{step}"
    try:
        return Saved(step=step, path=folder, time=(output_dir / folder / records.CHECKPOINT_MARK).stat().st_mtime)
    except OSError:
        return Saved(step=step)
