"""How much memory a training takes, and what fits: known before a GPU is taken.

Law: pure, no torch, no transformers, because the operator asks the same functions; only `facts` opens files, a model's
description and the headers of its weights, and `known` the table of models beside it. A formula says what it counts
and where that is from; what is assumed stands in `machine` and nowhere else.
"""

from finetune_trainer.sizing.architecture import Architecture, ArchitectureUnknown
from finetune_trainer.sizing.estimate import Estimate, NotSized, estimate
from finetune_trainer.sizing.machine import Machine, bytes_of
from finetune_trainer.sizing.moments import Parts
from finetune_trainer.sizing.report import Report, report
from finetune_trainer.sizing.trained import TargetUnknown
from finetune_trainer.sizing.words import in_words, instead

__all__ = [
    "Architecture",
    "ArchitectureUnknown",
    "Estimate",
    "Machine",
    "NotSized",
    "Parts",
    "Report",
    "TargetUnknown",
    "bytes_of",
    "estimate",
    "in_words",
    "instead",
    "report",
]
