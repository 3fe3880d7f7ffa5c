"""Going on with another number of ranks than the one that wrote the checkpoint.

Law: `plan` decides by numbers, pure, and refuses in words; `universal` has DeepSpeed put the parts of all ranks
together, in a process of its own (`convert`); `resumed` mends what loading them leaves wrong. Knows no rows and no
model.
"""

from __future__ import annotations

from finetune_trainer.resize.begin import begin
from finetune_trainer.resize.plan import Resize, plan
from finetune_trainer.resize.resumed import Resumed

__all__ = ["Resize", "Resumed", "begin", "plan"]
