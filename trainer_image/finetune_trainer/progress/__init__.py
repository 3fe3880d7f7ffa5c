"""Progress: heartbeats of every rank, the progress record of rank 0, and what people see while a run goes on.

Law: writes the run folder and the screen, nothing under output_dir; never changes how training goes.
"""

from __future__ import annotations

from finetune_trainer.progress.reporter import Reporter

__all__ = ["Reporter"]
