"""DeepSpeed's configuration as it is used, with every `auto` filled: .finetune/ds.json."""

# ruff: noqa: ANN401, ARG002 - transformers calls every callback with the same arguments
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune_trainer import atomic
from finetune_trainer.records import DEEPSPEED_FILE, STATE_DIR


class ZeroConfig(TrainerCallback):
    """Writes it once, when transformers knows model and steps. For one rank: it is the same on all."""

    def __init__(self, output_dir: Path) -> None:
        self._file = output_dir / STATE_DIR / DEEPSPEED_FILE

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Without DeepSpeed there is nothing to write."""
        plugin = getattr(args, "deepspeed_plugin", None)
        if plugin is not None:
            atomic.write(self._file, json.dumps(plugin.hf_ds_config.config, indent=2, default=str) + "\n")
