"""What every rank imports, imported once: ranks are forked of a process that has it all (`forked`).

No thread may run here, and nothing may be computed: only modules are loaded.
"""

from finetune_trainer import imports

imports.hurry()

import datasets  # noqa: E402
import deepspeed  # noqa: E402, F401
import transformers.models.llama.modeling_llama  # noqa: E402, F401
import trl  # noqa: E402, F401
from tests.training.rank import main  # noqa: E402

import finetune_trainer.train  # noqa: E402, F401

__all__ = ["datasets", "main"]
