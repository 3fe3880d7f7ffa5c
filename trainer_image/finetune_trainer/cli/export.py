"""`finetune export config.yaml`: merge adapters into their base, or write a model in another form."""

from __future__ import annotations

import logging
import os
from argparse import ArgumentParser, Namespace

from finetune_trainer.cli.verb import TrainingVerb


def _configure(parser: ArgumentParser) -> None:
    parser.usage = "finetune export config.yaml [key=value ...]"
    parser.prefix_chars = "\0"  # flags are keys of the configuration, which argparse does not know
    parser.add_argument("words", metavar="WORD", nargs="+", help="a file of export keys, key=value, or --key value")
    parser.set_defaults(show_help=parser.print_help)


def _run(arguments: Namespace) -> int:
    """Raises ValueError: a key is wrong, or the model cannot be exported so."""
    if arguments.words[0] in ("-h", "--help"):
        arguments.show_help()
        return 0
    if arguments.words == ["--in-job"]:
        return _run_in_job()
    from finetune_trainer import config

    cfg = config.from_words([*arguments.words, "--do_train"], complete=False)  # rules look at trainings
    from finetune_trainer import export, quiet

    quiet.hush()
    print(f"exported to {export.export(cfg)}")
    return 0


def _run_in_job() -> int:
    """Started by the operator, after the training: everything is in the pod's files and variables."""
    from finetune_trainer import export

    logging.basicConfig(format="export: %(message)s", level=logging.INFO)
    return export.export_in_job(os.environ)


VERB = TrainingVerb(help="merge adapters into their model and write it", configure=_configure, run=_run)
