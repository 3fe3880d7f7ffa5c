"""Parts: what every stage's trainer is put together from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainingArguments,
)

from finetune_trainer.collate import Batch, tokens
from finetune_trainer.config import TrainConfig
from finetune_trainer.data import Prepared, Stream
from finetune_trainer.distributed import World
from finetune_trainer.saving import Saver
from finetune_trainer.stages.order import Order

_PAIRS = ("chosen_input_ids", "rejected_input_ids")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """Everything is loaded; a stage adds its loss and its batches."""

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    data: Prepared
    arguments: TrainingArguments
    world: World
    saver: Saver
    callbacks: Sequence[TrainerCallback]
    optimiser: Callable[[torch.nn.Module], torch.optim.Optimizer | None]
    """Makes the optimiser when the model is ready; None: transformers' own, by its name in the arguments."""
    counts: Callable[[Batch], int] = tokens
    """How many tokens of a micro batch the model is said to have seen."""
    tells_tokens: bool = False
    """Whether each logged step says how many tokens the model has seen so far."""
    device: torch.device
    """Where a stage loads further models (reference, reward) to."""

    def order(self, cfg: TrainConfig) -> Order:
        """The order of rows that the configuration asks for."""
        args, training, rows = self.arguments, cfg.training, self.data.train
        grouped = training.group_by_length or training.train_sampling_strategy == "group_by_length"
        in_order = cfg.finetuning.disable_shuffling or training.train_sampling_strategy == "sequential"
        return Order(
            seed=args.seed if args.data_seed is None else args.data_seed,
            shuffle=not in_order,
            lengths=None if isinstance(rows, Stream) or not grouped else _lengths(rows),
            global_batch=args.per_device_train_batch_size * args.gradient_accumulation_steps * self.world.size,
        )


def _lengths(rows: Any) -> list[int]:  # noqa: ANN401 - a datasets.Dataset
    """Tokens of each row; of a pair, those of the longer answer with its prompt."""
    columns = [rows[name] for name in rows.column_names if name in ("input_ids", *_PAIRS)]
    return [max(map(len, parts)) for parts in zip(*columns, strict=True)]
