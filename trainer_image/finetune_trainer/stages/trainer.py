"""GlobalTrainer: transformers' Trainer with a global batch, exact losses and checkpoints that are complete or not.

Uses only what transformers 4.53 and 5 both have. What it changes, and why:

- the rows of a step do not depend on how the global batch is split (`order`);
- losses are means over the items of the global batch (learned tokens, pairs, rows), as the stage's objective says,
  in training and in evaluation;
- the logged loss is the unrounded mean of all ranks (transformers 4 rounds to four digits), and never hides a NaN;
- a checkpoint counts when all ranks have written it and the attempt still owns the volume (`CheckpointedTrainer`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn, cast

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import SchedulerType

from finetune_trainer import distributed_fsdp, memory
from finetune_trainer.collate import Collate
from finetune_trainer.data import Stream
from finetune_trainer.failures import LossNotFinite
from finetune_trainer.optimisers import schedule
from finetune_trainer.stages import ledger
from finetune_trainer.stages.checkpointed import CheckpointedTrainer
from finetune_trainer.stages.ledger import Ledger, Ruined
from finetune_trainer.stages.objective import Objective
from finetune_trainer.stages.order import GlobalBatches, Order, StreamedBatches, WithBlank
from finetune_trainer.stages.parts import Parts
from finetune_trainer.stages.running_loss import RunningLoss
from finetune_trainer.stages.skipped import Skipped


class GlobalTrainer(CheckpointedTrainer):
    """See the module. A stage says what is minimised, how rows become batches, and in which order they come."""

    def __init__(self, parts: Parts, *, objective: Objective, collator: Collate, order: Order) -> None:
        super().__init__(
            model=cast("PreTrainedModel", parts.model),
            args=parts.arguments,
            train_dataset=parts.data.train,
            eval_dataset=parts.data.eval,
            data_collator=collator,
            processing_class=parts.tokenizer,
            callbacks=list(parts.callbacks),
        )
        self.model_accepts_loss_kwargs = True  # the objective divides; transformers must not do so again
        self.objective = objective
        self._optimiser = parts.optimiser
        self._world = parts.world
        self._saver = parts.saver
        self._counts = parts.counts
        self._tells_tokens = parts.tells_tokens
        self.data = parts.data
        self.rows = parts.data.train
        self._batches = None if isinstance(self.rows, Stream) else GlobalBatches(len(self.rows), order, self._split())
        self._losses = RunningLoss()
        self._passes = 1  # steps of the optimiser in what transformers takes for one
        self._ledger = Ledger()
        self._skipped = Skipped()
        self._place = (0, 0)
        self.peak_memory: int | None = None
        """Bytes that the fullest rank held at most, as of the last log."""
        self.add_callback(_Epochs(self))
        if parts.arguments.fsdp:
            self.add_callback(distributed_fsdp.InPieces())
        self.remove_callback(PrinterCallback)  # progress.screen speaks

    def get_train_dataloader(self) -> DataLoader[Any]:
        """This rank's micro batches, on the CPU; accelerate is left out, since the order is ours."""
        args = self.args
        if isinstance(self.rows, Stream):
            # In this process: workers would each read the whole stream, and a row takes microseconds.
            return DataLoader(
                StreamedBatches(self.rows, self._split()), batch_size=None, collate_fn=self.data_collator
            )
        return DataLoader(
            WithBlank(self.rows),
            batch_sampler=self._batches,
            collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory and torch.cuda.is_available(),
            persistent_workers=args.dataloader_persistent_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
            multiprocessing_context=getattr(args, "dataloader_multiprocessing_context", None),  # not in 4.53
        )

    def begin_epoch(self, step: int) -> None:
        """Shuffle for the epoch in which a step lies; a stream does so by itself."""
        if self._batches is not None:
            per_epoch = max(1, math.ceil(len(self._batches) / self.args.gradient_accumulation_steps))
            self._batches.epoch = step // per_epoch
            skipped = 0 if self.args.ignore_data_skip else step % per_epoch * self.args.gradient_accumulation_steps
            self._place = (self._batches.epoch, skipped)
        self._losses.begin(step)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Mapping[str, torch.Tensor]], num_batches: int, device: torch.device
    ) -> tuple[list[Mapping[str, torch.Tensor]], torch.Tensor]:
        """The micro batches of one step, and how many items all ranks have in them; none when the run is over.

        transformers trains one step more when it goes on from the last step's checkpoint.

        Raises:
            LossNotFinite: on every rank alike, of an earlier step.
        """
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return [], torch.ones((), device=device)
        return self._next_step(epoch_iterator, num_batches, device)

    def _next_step(
        self, epoch_iterator: Iterator[Mapping[str, torch.Tensor]], num_batches: int, device: torch.device
    ) -> tuple[list[Mapping[str, torch.Tensor]], torch.Tensor]:
        batches: list[Mapping[str, torch.Tensor]] = [
            dict(batch) for _, batch in zip(range(num_batches), epoch_iterator, strict=False)
        ]
        items = sum(self.objective.items(dict(batch)) for batch in batches)
        ruined = self._ledger.look() if self._ledger.is_due() else None
        counted = sum(self._counts(dict(batch)) for batch in batches)
        all_items, all_tokens, bad = self._world.sum(items, counted, float(ruined is not None))
        if bad:
            self._stop(ruined)
        self._skipped.begin(self.model_wrapped)
        self._draw(batches)
        self.state.num_input_tokens_seen += int(all_tokens)
        self._prepare_objective(self.model_wrapped, batches)
        count = all_items if self.args.average_tokens_across_devices else items
        return batches, torch.tensor(max(1.0, count), device=device)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,  # noqa: FBT001, ARG002 - as transformers has it
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """The objective's share. Gradients are averaged over ranks, so a mean over all ranks' items is multiplied."""
        assert isinstance(num_items_in_batch, torch.Tensor)
        loss = self.objective.loss(model, inputs, num_items_in_batch)
        return loss * self._world.size if self.args.average_tokens_across_devices else loss

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """One micro batch; its share of the loss is kept in full precision."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._ledger.done(loss)
        share = loss / self._passes
        self._losses.add(share)
        return share

    def create_accelerator_and_postprocess(self) -> None:
        """With FSDP on every device that it is asked for."""
        super().create_accelerator_and_postprocess()
        distributed_fsdp.insist(self)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:  # noqa: FBT001
        """Under FSDP the result is put together from all ranks; checkpoints stay in pieces."""
        if not self.args.fsdp or _internal_call:
            super().save_model(output_dir, _internal_call)
            return
        whole = distributed_fsdp.whole_weights(cast("nn.Module", self.model), keep=self.args.should_save)
        if self.args.should_save:
            self._save(output_dir, state_dict=whole)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:  # noqa: ANN401 - versions differ
        """The optimiser that the configuration asks for, or else transformers' own by the name in `optim`."""
        if self.optimizer is None and self.model is not None:
            self.optimizer = self._optimiser(self.model)
        made: torch.optim.Optimizer = super().create_optimizer(*args, **kwargs)
        return made

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """transformers' schedule, which must be told how long it stays and falls where we know that by ourselves."""
        args = self.args
        args.lr_scheduler_kwargs = schedule.arguments(
            SchedulerType(args.lr_scheduler_type).value,
            cast("dict[str, Any] | None", args.lr_scheduler_kwargs),
            steps=num_training_steps,
            warmup=args.get_warmup_steps(num_training_steps),
        )
        made: torch.optim.lr_scheduler.LRScheduler = super().create_scheduler(num_training_steps, optimizer)
        return made

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Put the exact losses in place of transformers', and what the objective tells beside them.

        transformers rounds, and its mean over the run forgets what was trained before it was resumed.

        Raises:
            LossNotFinite: on every rank alike.
        """
        if "train_loss" in logs:
            self._stop_if_ruined()
            mean = self._losses.over_run(self.state.log_history, self.state.global_step, self._world)
            logs["train_loss"] = logs["train_loss"] if mean is None else mean
        if "loss" in logs:
            self._stop_if_ruined()
            logs["loss"], peak = self._losses.take_beside(self.state.global_step, self._world, memory.used().peak)
            self.peak_memory = int(peak) or None
            logs.update(self.objective.meter.take(self._world))
        if self._tells_tokens:
            logs["num_input_tokens_seen"] = self.state.num_input_tokens_seen
        super().log(logs, start_time)

    def _stop_if_ruined(self) -> None:
        """Look at every loss so far.

        Raises:
            LossNotFinite: on every rank alike, with the rows of the first micro batch whose loss is not finite.
        """
        ruined = self._ledger.look()
        if self._world.any(ruined is not None):
            self._stop(ruined)
        if words := self._skipped.words(self.model_wrapped, self.state.global_step):
            raise LossNotFinite(words)

    def _stop(self, ruined: Ruined | None) -> NoReturn:
        found = [(one, rank) for rank, one in enumerate(self._world.gather(ruined)) if one is not None]
        first, rank = min(found, key=lambda pair: pair[0].step)
        rows = [] if self._batches is None else self._batches.rows_of(*first.place, rank=rank)
        raise LossNotFinite(ledger.words(first, rows, cast("PreTrainedTokenizerBase", self.processing_class)))

    def _draw(self, batches: Sequence[Mapping[str, torch.Tensor]]) -> None:
        epoch, number = self._place
        for at, batch in enumerate(batches):
            self._ledger.drawn(self.state.global_step + 1, (epoch, number + at), batch)
        self._place = (epoch, number + len(batches))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:  # noqa: ANN401 - as transformers has it
        self._stop_if_ruined()
        self._stop_if_weights_are()
        super()._save_checkpoint(model, trial)

    def _stop_if_weights_are(self) -> None:
        """The last step's gradient may have been NaN although its loss was finite."""
        if self._world.any(not ledger.finite(cast("nn.Module", self.model))):
            raise LossNotFinite(
                f"step {self.state.global_step} has made weights that are not finite, from a finite loss: "
                f"{ledger.ADVICE}"
            )

    def _prepare_objective(self, model: nn.Module, batches: Sequence[Mapping[str, Any]]) -> None:
        if not self.objective.looks_ahead:
            return
        with torch.no_grad(), self.compute_loss_context_manager():
            self.objective.prepare(model, [self._prepare_inputs(dict(batch)) for batch in batches], self._world)


class _Epochs(TrainerCallback):
    """Tells the trainer the epoch before its batches are drawn: resumed runs begin in the middle of one."""

    def __init__(self, trainer: GlobalTrainer) -> None:
        self._trainer = trainer

    def on_epoch_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002 - transformers passes it
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002 - transformers passes it
        **kwargs: Any,  # noqa: ANN401, ARG002 - transformers passes it
    ) -> None:
        """Before the epoch's first batch."""
        self._trainer.begin_epoch(state.global_step)
