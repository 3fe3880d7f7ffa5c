"""EvaluatingTrainer: transformers' Trainer whose evaluation is a mean over items, of rows that each come once."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput

from finetune_trainer.distributed import World
from finetune_trainer.failures import RunError
from finetune_trainer.stages.objective import Objective
from finetune_trainer.stages.order import GlobalBatches, Order, Split, WithBlank


class EvaluatingTrainer(Trainer):
    """Counts the loss and what the objective tells over all ranks, and keeps nothing of a batch."""

    objective: Objective
    _world: World
    _evaluated: tuple[float, float] = (0.0, 0.0)
    """Sum of the losses and number of items so far, of this rank."""

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:  # noqa: ANN401 - as transformers has it
        """This rank's micro batches of the rows to evaluate on, each row once."""
        rows: Any = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(rows, str):
            rows = cast("dict[str, Any]", self.eval_dataset)[rows]
        split = dataclasses.replace(self._split(), batch_size=self.args.per_device_eval_batch_size, drop_last=False)
        batches = GlobalBatches(len(rows), Order(seed=0, shuffle=False), split)
        return DataLoader(WithBlank(rows), batch_sampler=batches, collate_fn=self.data_collator)

    def evaluation_loop(
        self,
        dataloader: DataLoader[Any],
        description: str,
        prediction_loss_only: bool | None = None,  # noqa: FBT001 - as transformers has it
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Means over all items of all ranks, not over batches."""
        kept, self.objective.meter = self.objective.meter, type(self.objective.meter)()
        self._evaluated = (0.0, 0.0)
        output = super().evaluation_loop(dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)
        told, self.objective.meter = self.objective.meter.take(self._world), kept
        total, items = self._world.sum(*self._evaluated)
        means = {"loss": total / max(1.0, items), **({} if self.args.prediction_loss_only else told)}
        metrics = {**(output.metrics or {}), **{f"{metric_key_prefix}_{name}": mean for name, mean in means.items()}}
        return output._replace(metrics=metrics)

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,  # noqa: FBT001, ARG002 - as transformers has it
        ignore_keys: list[str] | None = None,  # noqa: ARG002 - as transformers has it
    ) -> tuple[None, None, None]:
        """Add one micro batch to what is evaluated; nothing is kept of it, whatever the vocabulary's size."""
        batch = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            if self.objective.looks_ahead:
                self.objective.prepare(model, [batch], self._world)
            loss = self.objective.loss(model, batch, torch.ones((), device=self.args.device))
        total, items = self._evaluated
        self._evaluated = (total + float(loss), items + self.objective.items(batch))
        return None, None, None

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:  # noqa: ANN401 - as transformers
        try:
            return bool(super()._determine_best_metric(metrics, trial))
        except KeyError as error:
            told = ", ".join(name for name in metrics if not name.endswith(("_runtime", "_per_second", "_time")))
            raise RunError(
                f"metric_for_best_model: evaluation tells no {self.args.metric_for_best_model}; it tells {told}"
            ) from error

    def _split(self) -> Split:
        return Split(
            batch_size=self.args.per_device_train_batch_size,
            rank=self._world.rank,
            ranks=self._world.size,
            drop_last=self.args.dataloader_drop_last,
        )
