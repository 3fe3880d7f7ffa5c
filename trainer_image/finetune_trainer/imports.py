"""Importing the libraries fast: half of the seconds goes to collecting garbage, and to what a run never asks for.

Law: turns the interpreter's own switches, before anything large is imported.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping

from finetune_trainer.config import TrainConfig

OPTIONAL: Mapping[str, Callable[[TrainConfig], bool]] = {
    "hqq": lambda cfg: cfg.model.quantization_method == "hqq",
    "mlflow": lambda cfg: "mlflow" in cfg.training.report_to or "all" in cfg.training.report_to,
}
"""Packages that others import merely because they are installed (transformers' cache_utils, DeepSpeed's autotuning),
and what asks for them.
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
