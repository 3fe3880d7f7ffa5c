"""The bare side of benchmarks.train: transformers' Trainer and peft, as one would write it by hand.

    python -m benchmarks.train_bare train.yaml

The packed rows are ours, made before the clock of the steps begins; everything else is the libraries' own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments, default_data_collator

from finetune_trainer import config, data, model


class Log(TrainerCallback):
    """A line for each step, as the other sides write."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:  # noqa: ANN401, ARG002
        if "loss" in logs:
            with self._path.open("a") as stream:
                stream.write(json.dumps({"current_steps": state.global_step, "loss": logs["loss"]}) + "\n")


def main() -> None:
    """Train."""
    cfg = config.load(sys.argv[1])
    training, output = cfg.training, Path(str(cfg.training.output_dir))
    output.mkdir(parents=True)
    rows = data.build(cfg, model.load_tokenizer(cfg)).train
    lm: Any = AutoModelForCausalLM.from_pretrained(cfg.model.model_name_or_path, dtype=torch.float32)
    if cfg.finetuning.finetuning_type == "lora":
        from peft import LoraConfig, get_peft_model

        rank = cfg.finetuning.lora_rank
        lm = get_peft_model(
            lm, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
        )
    arguments = TrainingArguments(
        output_dir=str(output), max_steps=training.max_steps, learning_rate=training.learning_rate, bf16=training.bf16,
        per_device_train_batch_size=training.per_device_train_batch_size, logging_steps=1, save_strategy="no",
        lr_scheduler_type="constant", report_to="none", use_cpu=True, disable_tqdm=True, remove_unused_columns=False,
        train_sampling_strategy="sequential",
    )  # fmt: skip
    log = Log(output / "trainer_log.jsonl")
    Trainer(model=lm, args=arguments, train_dataset=rows, data_collator=default_data_collator, callbacks=[log]).train()


if __name__ == "__main__":
    main()
