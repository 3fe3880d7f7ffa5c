"""`finetune version`: ours, and of what trains."""

from __future__ import annotations

import platform
from argparse import ArgumentParser, Namespace
from importlib.metadata import PackageNotFoundError, version

from finetune_trainer import records
from finetune_trainer.cli.verb import TrainingVerb

_PACKAGES = ("finetune-operator", "torch", "transformers", "peft", "accelerate", "datasets", "deepspeed")


def _configure(parser: ArgumentParser) -> None:
    """No arguments."""


def _run(_: Namespace) -> int:
    found = {name: _version(name) for name in _PACKAGES}
    found |= {"python": platform.python_version(), "contract": str(records.CONTRACT_VERSION)}
    for name, number in found.items():
        print(f"{name:18}{number}")
    return 0


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


VERB = TrainingVerb(help="print the versions of this program and of what trains", configure=_configure, run=_run)
