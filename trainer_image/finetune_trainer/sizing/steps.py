"""Pure: how long a run is, and how much it writes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from finetune_trainer.config import TrainConfig
from finetune_trainer.sizing import layout, numbers, optimisers, parameters, trained
from finetune_trainer.sizing.architecture import Architecture
from finetune_trainer.sizing.machine import Machine
from finetune_trainer.sizing.numbers import FULL, HALF


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """Steps, tokens, checkpoints. Tokens are the most that rows can hold: all of them cutoff_len long."""

    global_batch: int
    """Rows of a step, of all ranks."""
    tokens_per_step: int
    steps: int | None
    """None: how many rows there are is not known."""
    checkpoints: int | None
    """On the disk at the end."""
    checkpoint_bytes: float
    model_bytes: float
    """Of what is written at the end: a model, or an adapter."""

    @property
    def tokens(self) -> int | None:
        """Of the whole run."""
        return None if self.steps is None else self.steps * self.tokens_per_step

    @property
    def disk(self) -> float | None:
        """Bytes of all checkpoints and the result."""
        return None if self.checkpoints is None else self.checkpoints * self.checkpoint_bytes + self.model_bytes


def of(cfg: TrainConfig, model: Architecture, on: Machine, *, rows: int | None = None) -> Course:
    """The run's length, by max_steps or by rows and epochs.

    Args:
        cfg: batches, epochs, saving.
        model: what is saved.
        on: how many ranks share the rows.
        rows: of the training set, if it is known.
    """
    training = cfg.training
    batch = training.per_device_train_batch_size * training.gradient_accumulation_steps * on.ranks
    steps = _steps(cfg, batch, rows)
    model_bytes, checkpoint = _written(cfg, model, on)
    return Course(
        global_batch=batch,
        tokens_per_step=batch * cfg.data.cutoff_len,
        steps=steps,
        checkpoints=_checkpoints(cfg, steps),
        checkpoint_bytes=checkpoint,
        model_bytes=model_bytes,
    )


def _steps(cfg: TrainConfig, batch: int, rows: int | None) -> int | None:
    if cfg.training.max_steps > 0:
        return cfg.training.max_steps
    if rows is None:
        return None
    return math.ceil(math.ceil(rows / batch) * cfg.training.num_train_epochs)


def _checkpoints(cfg: TrainConfig, steps: int | None) -> int | None:
    training = cfg.training
    if training.save_strategy == "no":
        return 0
    if training.save_strategy in ("epoch", "best"):
        made = math.ceil(training.num_train_epochs)
    elif steps is None:
        return training.save_total_limit
    else:
        every = training.save_steps if training.save_steps >= 1 else math.ceil(training.save_steps * steps)
        made = math.ceil(steps / every)  # the last step is saved, too
    return made if training.save_total_limit is None else min(made, training.save_total_limit)


def _written(cfg: TrainConfig, model: Architecture, on: Machine) -> tuple[float, float]:
    """Bytes of the result, and of a checkpoint: under DeepSpeed the model once more, with its float32 copies."""
    learns = trained.of(cfg, model)
    lay = layout.of(cfg, width=model.width, ranks=on.ranks)
    num = numbers.of(cfg, model, lay, adapters=not learns.base, gpu=on.gpu)
    if learns.adapters:
        result = learns.adapters * FULL
    else:
        result = parameters.total(model) * num.frozen + learns.base * (num.trained - num.frozen)
    if cfg.training.save_only_model:
        return result, result
    optimiser = optimisers.states(cfg, model, learns)
    if lay.kind == "zero":
        optimiser += learns.total * (FULL + (num.trained if num.trained == HALF else 0.0))
    return result, result + optimiser
