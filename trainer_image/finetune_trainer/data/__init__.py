"""Data: train.yaml's data keys to token ids and labels, with a report of what became of every row.

Law: sources and store open files, convert knows rows, encode (another room) tokens, select numbers of rows; build is
the flow. None knows a model, a loss or output_dir. Memory is flat in the number of rows: only arrays of numbers are as
long as a data set.
"""

from __future__ import annotations

from finetune_trainer.data.build import Prepared, build
from finetune_trainer.data.entry import DataInvalid
from finetune_trainer.data.fingerprint import fingerprint
from finetune_trainer.data.report import DataReport
from finetune_trainer.data.stream import Stream

__all__ = ["DataInvalid", "DataReport", "Prepared", "Stream", "build", "fingerprint"]
