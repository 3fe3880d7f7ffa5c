"""Importing the libraries fast: half of the seconds goes to collecting garbage, and to what a run never asks for.

Law: turns the interpreter's own switches, before anything large is imported. Reads no more than a model's config.json.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from finetune_trainer.config import TrainConfig
from finetune_trainer.config.optim_values import effective_optim, method


def _bitsandbytes(cfg: TrainConfig) -> bool:
    """Whether a run may want it: also for a checkpoint that was stored by it, which only the model's files tell."""
    model, finetuning = cfg.model, cfg.finetuning
    others = finetuning.ref_model or finetuning.reward_model
    own_optimiser = method(cfg) is not None or not effective_optim(cfg).startswith("adamw_torch")
    return bool(model.quantization_bit or others) or own_optimiser or not _is_plain(model.model_name_or_path)


def _is_plain(name: str | None) -> bool:
    """Whether a model lies on this machine and is not quantised."""
    description = Path(name or "") / "config.json"
    return description.is_file() and '"quantization_config"' not in description.read_text(encoding="utf-8")


OPTIONAL: Mapping[str, Callable[[TrainConfig], bool]] = {
    "bitsandbytes": _bitsandbytes,
    "hqq": lambda cfg: cfg.model.quantization_method == "hqq",
    "mlflow": lambda cfg: "mlflow" in cfg.training.report_to or "all" in cfg.training.report_to,
}
"""Packages that others import merely because they are installed (peft, transformers' cache_utils, DeepSpeed's
autotuning), and what asks for them.
"""


def hurry(*configs: TrainConfig) -> None:
    """Before the imports: no garbage is collected until `settle`, and what none of the runs needs is not there."""
    gc.disable()
    for package, asked in OPTIONAL.items():
        if not any(map(asked, configs)) and package not in sys.modules:
            sys.modules[package] = None  # type: ignore[assignment] # Python's way to say that it cannot be imported


def settle() -> None:
    """When the run is ready. What has been made is not frozen: process groups and workers must end as ever."""
    gc.enable()
