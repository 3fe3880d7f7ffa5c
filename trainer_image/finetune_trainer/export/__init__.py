"""Export: a trained model as a folder that any program loads; and models and adapters made ready for training.

Law: loads, changes and writes weights; trains nothing. `in_job` alone knows that there are jobs. Sources:
LLaMA-Factory train/tuner.py (export_model), scripts/llama_pro.py, scripts/pissa_init.py, scripts/loftq_init.py.
"""

from __future__ import annotations

from finetune_trainer.export.expand import expand
from finetune_trainer.export.first_adapter import FirstAdapter, init_adapter
from finetune_trainer.export.in_job import export_in_job
from finetune_trainer.export.model import export

__all__ = ["FirstAdapter", "expand", "export", "export_in_job", "init_adapter"]
