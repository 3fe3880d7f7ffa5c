"""Trainers of a model with a value head (rm, ppo): the head is saved beside the model, never among its weights.

So output_dir and each checkpoint hold a plain model (or an adapter) that everything loads, and
value_head.safetensors, as LLaMA-Factory leaves them (`fix_valuehead_checkpoint` in train/callbacks.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from finetune_trainer.model import value_head
from finetune_trainer.stages.trainer import GlobalTrainer


class ValuedTrainer(GlobalTrainer):
    """Saves, resumes and takes back the best checkpoint, all with the head."""

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        """Write the model as if it had no head, then the head. `state_dict` is given where weights were gathered."""
        gathered = cast("nn.Module", self.model).state_dict() if state_dict is None else state_dict
        plain, head = value_head.split(gathered)
        super()._save(output_dir, plain)
        folder = output_dir or self.args.output_dir
        if self.args.should_save and head:
            assert folder is not None
            value_head.save(head, Path(folder))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """As transformers does, and the head after it. DeepSpeed and FSDP resume by themselves, head included."""
        super()._load_from_checkpoint(resume_from_checkpoint, cast("Any", model))
        self._load_head(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        best = self.state.best_model_checkpoint
        if best is not None and not self.is_deepspeed_enabled:
            self._load_head(best)

    def _load_head(self, folder: str) -> None:
        if not self.is_fsdp_enabled:
            value_head.load(cast("Any", self.model), Path(folder))
