"""`finetune fetch SOURCE`: a model into the cache; what a job's `prepare` runs, too."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from finetune_trainer.cli.verb import TrainingVerb


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="hf://org/name[@revision], ms://org/name[@revision], s3://bucket/prefix or https://host/path/",
    )
    parser.add_argument(
        "--cache", metavar="DIR", type=Path, help="folder for models (~/.cache/finetune-operator/models)"
    )
    parser.add_argument("--link", metavar="PATH", type=Path, help="make a link to the folder, whatever its revision")


def _run(arguments: Namespace) -> int:
    """Prints the model's folder. Raises ValueError: the source is misspelt, or cannot be fetched."""
    from finetune_trainer import fetch, supervise
    from finetune_trainer.fetch.screen import left_out, screen
    from finetune_trainer.records import EXIT_AGAIN

    supervise.end_on_sigterm()
    cache = arguments.cache or _cache()
    try:
        with screen() as report:
            fetched = fetch.fetch(arguments.source, cache, credentials=fetch.Credentials.of(os.environ), report=report)
    except fetch.FetchError as error:
        if not error.retryable:
            raise
        print(error, file=sys.stderr)
        return EXIT_AGAIN
    if told := left_out(fetched):
        print(told, file=sys.stderr)
    if arguments.link is not None:
        arguments.link.unlink(missing_ok=True)
        arguments.link.symlink_to(fetched.folder.resolve(), target_is_directory=True)
    print(fetched.folder)
    return 0


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "finetune-operator" / "models"


VERB = TrainingVerb(
    help="fetch a model from a hub, a store or a web server into a cache", configure=_configure, run=_run
)
