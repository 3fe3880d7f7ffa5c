"""What a way to quantise needs on this machine, and the one line that says so."""

from __future__ import annotations

import importlib.util

import torch

from finetune_trainer.failures import RunError


def package(name: str, what: str, *, instead: str = "") -> None:
    """Raises RunError if the package cannot be imported."""
    if importlib.util.find_spec(name) is None:
        raise RunError(f"{what} needs the Python package {name}, which is not installed here{_or(instead)}")


def gpu(device: torch.device, what: str, *, instead: str = "") -> None:
    """Raises RunError if the run computes on CPUs."""
    if device.type == "cpu":
        raise RunError(f"{what} needs a GPU, and this run has none{_or(instead)}")


def _or(instead: str) -> str:
    return f"; {instead}" if instead else ""
