"""Saving: a checkpoint that is written while training goes on.

What it holds is copied at a step's end, a thread writes the copy and waits for the disk, and at a later step's end all
ranks commit it together. Law: knows tensors, files and threads; not what a checkpoint is made of (`stages`), nor
which one counts (`checkpoints`).
"""

from __future__ import annotations

from finetune_trainer.saving.engine import adopt
from finetune_trainer.saving.files import write
from finetune_trainer.saving.saver import Saver
from finetune_trainer.saving.snapshot import storages

__all__ = ["Saver", "adopt", "storages", "write"]
