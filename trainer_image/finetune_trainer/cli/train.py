"""`finetune train config.yaml`: by itself on this machine, or as one rank of a job."""

from __future__ import annotations

import os
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_trainer.cli.verb import TrainingVerb

if TYPE_CHECKING:
    from finetune_trainer.config import TrainConfig


def _configure(parser: ArgumentParser) -> None:
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("config", metavar="config.yaml", nargs="?", type=Path, help="keys of a LLaMA-Factory YAML")
    chosen.add_argument("--in-job", action="store_true", help=SUPPRESS)  # a rank, started by `finetune supervise`


def _run(arguments: Namespace) -> int:
    return _in_job(os.environ) if arguments.in_job else _by_hand(arguments.config, os.environ)


def _in_job(environment: Mapping[str, str]) -> int:
    """One rank: everything that goes wrong from here on is told in error-<rank>.json."""
    from finetune_trainer import config, context, failures, records

    folder = Path(environment.get(records.ENV_CONFIG_DIR, records.CONFIG_DIR))
    run = records.RunSpec.from_json((folder / records.RUN_FILE).read_text(encoding="utf-8"))
    job = context.of_job(run, environment)
    with failures.told(job):
        from finetune_trainer.train import train

        train(config.load(folder / records.TRAIN_FILE), job)
    return 0


def _by_hand(path: Path, environment: Mapping[str, str]) -> int:
    """This process trains, or becomes a torchrun whose ranks come here again.

    Raises:
        ConfigInvalid: with every wrong key, at its line.
        ValueError: the launcher's variables don't fit.
    """
    from finetune_trainer import config, context
    from finetune_trainer.cli import by_hand

    cfg = config.load(path)
    launcher = by_hand.torchrun(environment, path, devices=lambda: _devices(cfg))
    if launcher is not None:
        os.execve(launcher[0], launcher, by_hand.environment_of_ranks(environment))  # noqa: S606 - no shell is wanted
    from finetune_trainer.train import train

    result = train(cfg, context.read(cfg, environment)).result
    return 143 if result == "stopped" and not by_hand.is_rank(environment) else 0


def _devices(cfg: TrainConfig) -> int:
    if cfg.training.use_cpu:
        return 0
    import torch

    return torch.cuda.device_count()


VERB = TrainingVerb(help="train on this machine, one process per GPU", configure=_configure, run=_run)
