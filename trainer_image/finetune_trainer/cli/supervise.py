"""`finetune supervise`: process 1 of a pod; takes everything from the pod's files and variables."""

from __future__ import annotations

import logging
import os
from argparse import ArgumentParser, Namespace

from finetune_trainer.cli.verb import TrainingVerb


def _configure(parser: ArgumentParser) -> None:
    """No arguments."""


def _run(_: Namespace) -> int:
    from finetune_trainer import supervise

    logging.basicConfig(format="supervise: %(message)s", level=logging.INFO)
    return supervise.supervise(os.environ)


VERB = TrainingVerb(help="run this pod's part of a job (started by the operator)", configure=_configure, run=_run)
