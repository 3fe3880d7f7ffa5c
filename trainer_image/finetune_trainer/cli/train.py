"""`finetune train config.yaml`: by itself on this machine, or as one rank of a job."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_trainer.cli.verb import TrainingVerb

if TYPE_CHECKING:
    from finetune_trainer.config import TrainConfig
    from finetune_trainer.context import RunContext
    from finetune_trainer.records import RunResult


_USAGE = """\
finetune train config.yaml [key=value ...]     a LLaMA-Factory YAML or JSON, with keys changed
       finetune train --model_name_or_path X --stage sft --do_train ...     the same keys as flags"""


def _configure(parser: ArgumentParser) -> None:
    parser.usage = _USAGE
    parser.prefix_chars = "\0"  # flags are keys of the configuration, which argparse does not know
    parser.add_argument("words", metavar="WORD", nargs="+", help="a file of keys, key=value, or --key value")
    parser.set_defaults(show_help=parser.print_help)


def _run(arguments: Namespace) -> int:
    words: list[str] = arguments.words
    if words == ["--in-job"]:  # a rank, started by `finetune supervise`
        return _in_job(os.environ)
    if words[0] in ("-h", "--help"):
        arguments.show_help()
        return 0
    return _by_hand(words, os.environ)


def _in_job(environment: Mapping[str, str]) -> int:
    """One rank: everything that goes wrong from here on is told in error-<rank>.json."""
    from finetune_trainer import config, context, failures, records
    from finetune_trainer.supervise import stacks

    stacks.permit()
    folder = Path(environment.get(records.ENV_CONFIG_DIR, records.CONFIG_DIR))
    run = records.RunSpec.of_attempt((folder / records.RUN_FILE).read_text(encoding="utf-8"), environment)
    job = context.of_job(run, environment)
    with failures.told(job):
        _train(config.load(folder / records.TRAIN_FILE, fill=False), job)
    return 0


def _by_hand(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """This process trains, or becomes a torchrun whose ranks come here again.

    Raises:
        ConfigInvalid: with every wrong key, at its line or word.
        ValueError: the launcher's variables don't fit.
    """
    from finetune_trainer import config, context
    from finetune_trainer.cli import by_hand

    cfg = config.from_words(words)
    launcher = by_hand.torchrun(environment, words, devices=lambda: _devices(cfg))
    if launcher is not None:
        os.execve(launcher[0], launcher, by_hand.environment_of_ranks(environment))  # noqa: S606 - no shell is wanted
    result = _train(cfg, context.read(cfg, environment)).result
    return 143 if result == "stopped" and not by_hand.is_rank(environment) else 0


def _train(cfg: TrainConfig, run: RunContext) -> RunResult:
    """Import what is large, in the order in which it is fast and silent, and train."""
    from finetune_trainer import imports

    imports.hurry(cfg)
    from finetune_trainer import quiet

    quiet.hush()  # peft's import already talks
    from finetune_trainer.train import train

    return train(cfg, run)


def _devices(cfg: TrainConfig) -> int:
    if cfg.training.use_cpu:
        return 0
    import torch

    return torch.cuda.device_count()


VERB = TrainingVerb(help="train on this machine, one process per GPU", configure=_configure, run=_run)
