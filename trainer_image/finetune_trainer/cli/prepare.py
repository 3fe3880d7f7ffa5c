"""`finetune prepare`: process 1 of a job's preparation; takes everything from the pod's files and variables."""

from __future__ import annotations

import logging
import os
from argparse import ArgumentParser, Namespace

from finetune_trainer.cli.verb import TrainingVerb


def _configure(parser: ArgumentParser) -> None:
    """No arguments."""


def _run(_: Namespace) -> int:
    from finetune_trainer import prepare

    logging.basicConfig(format="prepare: %(message)s", level=logging.INFO)
    return prepare.prepare(os.environ)


VERB = TrainingVerb(
    help="fetch a job's model, tokenise its data, tell its size (started by the operator)",
    configure=_configure,
    run=_run,
)
