"""PiSSA: the adapter begins as a part of the base's weights, so what is saved must be made plain at the end.

A PiSSA adapter belongs to a base without that part, which nobody saves: over the whole base it gives other answers
(peft takes the part out again, but the fast decomposition draws random numbers). The plain adapter, of twice the rank,
is [A, A0], [B, -B0], where A0 and B0 are the first weights: W - A0 B0 + A B = W + (A B - A0 B0).

Source: peft, LoraModel.subtract_mutated_init, which drops modules trained in full; LLaMA-Factory train/callbacks.py
(PissaConvertCallback), whose names of folders these are.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune_trainer.config import TrainConfig

INITIAL, BACKUP, CONVERTED = "pissa_init", "pissa_backup", "pissa_converted"
_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


class KeepInitial(TrainerCallback):
    """Writes the adapter's first weights to `pissa_init`, before a checkpoint is loaded over them."""

    def __init__(self, output_dir: Path) -> None:
        self._folder = output_dir / INITIAL

    def on_init_end(
        self,
        args: TrainingArguments,
        state: TrainerState,  # noqa: ARG002 - transformers passes it
        control: TrainerControl,  # noqa: ARG002 - transformers passes it
        model: Any = None,  # noqa: ANN401 - transformers passes it
        **kwargs: Any,  # noqa: ANN401, ARG002 - transformers passes it
    ) -> None:
        """Once for a run: a resumed one finds them."""
        if args.should_save and isinstance(model, PeftModel) and not (self._folder / _CONFIG).exists():
            model.save_pretrained(str(self._folder))
            _change(self._folder, {"init_lora_weights": True})


def callbacks(cfg: TrainConfig, output_dir: Path) -> list[TrainerCallback]:
    """What a run with pissa_convert needs while it begins."""
    return [KeepInitial(output_dir)] if cfg.finetuning.pissa_convert else []


def finish(cfg: TrainConfig, output_dir: Path) -> None:
    """What it needs after the adapter is saved; on one rank."""
    if cfg.finetuning.pissa_convert:
        convert(output_dir)


def convert(output_dir: Path) -> None:
    """Make the adapter in `output_dir` a plain one, which goes over the whole base; kept beside it in both forms."""
    for folder in (output_dir / BACKUP, output_dir / CONVERTED):
        folder.mkdir(exist_ok=True)
        for name in (_WEIGHTS, _CONFIG):
            shutil.copyfile(output_dir / name, folder / name)
    _change(output_dir / BACKUP, {"init_lora_weights": True})
    plain = output_dir / CONVERTED
    weights = subtract(load_file(output_dir / _WEIGHTS), load_file(output_dir / INITIAL / _WEIGHTS))
    save_file(weights, plain / _WEIGHTS, metadata={"format": "pt"})
    _change(plain, _doubled(json.loads((plain / _CONFIG).read_text(encoding="utf-8"))))
    for name in (_WEIGHTS, _CONFIG):
        shutil.copyfile(plain / name, output_dir / name)


def subtract(trained: Mapping[str, torch.Tensor], initial: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The plain adapter's weights: A [2 rank, in], B [out, 2 rank]; what is no adapter matrix stays."""
    plain = dict(trained)
    for name, weight in trained.items():
        if ".lora_A." in name:
            plain[name] = torch.cat([weight, initial[name]], dim=0)
        elif ".lora_B." in name:
            plain[name] = torch.cat([weight, -initial[name]], dim=1)
    return {name: weight.contiguous() for name, weight in plain.items()}


def _doubled(config: Mapping[str, Any]) -> dict[str, Any]:
    """Twice the rank; the scale stays, which is alpha / rank, or alpha / sqrt(rank) in rsLoRA."""
    factor = math.sqrt(2) if config.get("use_rslora") else 2
    return {"r": 2 * config["r"], "lora_alpha": config["lora_alpha"] * factor, "init_lora_weights": True}


def _change(folder: Path, changes: Mapping[str, Any]) -> None:
    path = folder / _CONFIG
    config = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")
