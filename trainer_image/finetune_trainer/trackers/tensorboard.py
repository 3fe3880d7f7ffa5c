"""TensorBoard: event files under logging_dir, or runs/ in output_dir as transformers names them."""

# ruff: noqa: ANN401 - transformers calls every callback with the same arguments
from __future__ import annotations

import json
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import TensorBoardCallback

from finetune_trainer.config import TrainConfig
from finetune_trainer.context import RunContext
from finetune_trainer.trackers.said import said


def build(cfg: TrainConfig, context: RunContext) -> TrainerCallback:  # noqa: ARG001 - as every builder
    """transformers' callback, told the folder in the way of both its versions."""
    callback = TensorBoard(cfg)
    if cfg.training.logging_dir:
        callback.logging_dir = cfg.training.logging_dir  # 5.x; 4.53 reads its own argument, which hf.py passes
    return callback


class TensorBoard(TensorBoardCallback):
    """Adds the configuration, as text."""

    def __init__(self, cfg: TrainConfig) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._cfg = cfg

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the file and write what was asked for."""
        super().on_train_begin(args, state, control, **kwargs)  # type: ignore[no-untyped-call]
        if self.tb_writer is not None:
            text = json.dumps(said(self._cfg), indent=2, ensure_ascii=False)
            self.tb_writer.add_text("config", f"```\n{text}\n```")
