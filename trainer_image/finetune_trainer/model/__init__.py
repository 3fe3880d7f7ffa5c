"""Model: the base model, its tokenizer and its adapter, ready to train.

Law: loads and shapes weights; knows no rows, no loss and no output_dir.
"""

from __future__ import annotations

from finetune_trainer.model.activations import is_spared
from finetune_trainer.model.load import load
from finetune_trainer.model.reference import Reference, reference
from finetune_trainer.model.tokenizer import load_tokenizer

__all__ = ["Reference", "is_spared", "load", "load_tokenizer", "reference"]
