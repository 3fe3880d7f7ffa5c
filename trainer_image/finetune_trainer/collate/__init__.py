"""Collate: rows of token ids to the tensors of one batch.

Law: pure; knows columns and pads, not a data set, a template, a model or a loss. One file for each shape of batch:

- `rows`: conversations and packed rows that see each other; documents.
- `isolated`: packed rows that do not see each other (neat_packing), in the layout that the model understands.
- `pairs`: chosen answers, then rejected ones (rm, dpo).
- `verdicts`: answers with a verdict, and their partners (kto).
- `prompts`: what an answer is drawn for (ppo).
"""

from finetune_trainer.collate.isolated import IsolatedCollator, Layout
from finetune_trainer.collate.padding import Batch, Collate, Row
from finetune_trainer.collate.pairs import PairCollator
from finetune_trainer.collate.prompts import PromptCollator
from finetune_trainer.collate.rows import Collator, DocumentCollator, places, tokens
from finetune_trainer.collate.verdicts import VerdictCollator

__all__ = [
    "Batch",
    "Collate",
    "Collator",
    "DocumentCollator",
    "IsolatedCollator",
    "Layout",
    "PairCollator",
    "PromptCollator",
    "Row",
    "VerdictCollator",
    "places",
    "tokens",
]
