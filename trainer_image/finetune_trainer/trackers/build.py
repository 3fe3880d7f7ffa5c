"""Which callbacks report a run, and whether their packages are there."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping

from transformers import TrainerCallback

from finetune_trainer.config import TrainConfig
from finetune_trainer.config.trackers import TRACKERS, asked
from finetune_trainer.context import RunContext
from finetune_trainer.failures import RunError
from finetune_trainer.trackers import outside, swan, tensorboard

Builder = Callable[[TrainConfig, RunContext], TrainerCallback]

_BUILDERS: Mapping[str, Builder] = {
    "tensorboard": tensorboard.build,
    "wandb": outside.wandb,
    "mlflow": outside.mlflow,
    "trackio": outside.trackio,
    "swanlab": swan.build,
}
_PACKAGES = {"mlflow": "mlflow-skinny"}
"""Tracker -> what to install, where that is not its own name."""


def require(cfg: TrainConfig) -> None:
    """Look whether what the trackers and the profiler need is installed; imports none of it.

    Raises:
        RunError: a package is missing.
    """
    missing = [name for name in asked(cfg) if name != "all" and not _installed(name)]
    if missing:
        packages = " ".join(_PACKAGES.get(name, name) for name in missing)
        raise RunError(f"report_to: {', '.join(missing)} not installed here: pip install {packages}")


def build(cfg: TrainConfig, context: RunContext) -> list[TrainerCallback]:
    """The callbacks of the trackers that are asked for; `all` means those that are installed. For the first rank.

    Raises:
        RunError: a package is missing.
    """
    require(cfg)
    names = asked(cfg)
    if "all" in names:
        names = tuple(name for name in TRACKERS if _installed(name))
    return [_BUILDERS[name](cfg, context) for name in names]


def finish(callbacks: Iterable[TrainerCallback]) -> None:
    """Close the runs at trackers that keep one open, after the last metrics."""
    for callback in callbacks:
        close = getattr(callback, "finish", None)
        if close is not None:
            close()


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
