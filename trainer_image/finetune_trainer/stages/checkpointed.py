"""CheckpointedTrainer: what a checkpoint is made of is handed to the saver, which writes it while training goes on."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import Trainer
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from finetune_trainer import saving
from finetune_trainer.saving import Saver
from finetune_trainer.stages.evaluation import EvaluatingTrainer


class CheckpointedTrainer(EvaluatingTrainer):
    """transformers' files under transformers' names; rotation is the keeper's, after the commit."""

    _saver: Saver

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:  # noqa: ANN401 - as transformers has it
        if self.is_deepspeed_enabled:
            saving.adopt(self.deepspeed, self._saver)
        with self._saver.taking(self.state.global_step, best=self._best, at_once=self._saves_at_once()):
            super()._save_checkpoint(model, trial)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        """The model's files; those of a checkpoint are written by the saver."""
        write = functools.partial(super()._save, output_dir)
        without = state_dict is not None and not state_dict  # a ZeRO-3 that may not gather removes this file again
        if without or not (self._saver.is_taking and self.args.should_save):
            write(state_dict)
            return
        model = cast("nn.Module", self.model)
        state = model.state_dict() if state_dict is None else state_dict
        frozen = saving.storages(one for one in model.parameters() if not one.requires_grad)
        # DeepSpeed's weights were gathered, or cloned, for us alone
        is_copy = self.is_deepspeed_enabled and state_dict is not None
        self._saver.hand(state, write, name="model", still=frozen, is_copy=is_copy)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """DeepSpeed and FSDP write their own files; else rank 0 has everything."""
        if self.is_deepspeed_enabled or self.is_fsdp_enabled or not self._saver.is_taking:
            super()._save_optimizer_and_scheduler(output_dir)
        elif self.args.should_save:
            assert self.optimizer is not None
            assert self.lr_scheduler is not None
            for state, name in ((self.optimizer, OPTIMIZER_NAME), (self.lr_scheduler, SCHEDULER_NAME)):
                write = functools.partial(saving.write, path=Path(output_dir, name))
                self._saver.hand(state.state_dict(), write, name=name)

    def _load_best_model(self) -> None:
        self._saver.finish()
        super()._load_best_model()

    def _best(self) -> Path | None:
        best = self.state.best_model_checkpoint
        return Path(best) if best else None

    def _saves_at_once(self) -> bool:
        """Where other libraries write the files by themselves, or read them as soon as they are said to be there."""
        reads = any(
            getattr(callback, "_log_artifacts", False)
            or str(getattr(callback, "_log_model", "")).endswith("CHECKPOINT")
            for callback in self.callback_handler.callbacks
        )
        return self._world.any(self.is_fsdp_enabled or reads or _on_nvme(self))


def _on_nvme(trainer: Trainer) -> bool:
    """Whether DeepSpeed keeps states in files of its own, which it copies by itself."""
    config = trainer.args.hf_deepspeed_config.config if trainer.is_deepspeed_enabled else {}
    zero = config.get("zero_optimization", {})
    return any((zero.get(name) or {}).get("device") == "nvme" for name in ("offload_optimizer", "offload_param"))
