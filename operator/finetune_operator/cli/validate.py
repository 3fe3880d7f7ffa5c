"""`finetune validate job.yaml ...`: OK, or every violation with file and line."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from finetune_operator import plan, render
from finetune_operator.cli import door, manifest
from finetune_operator.cli.manifest import ManifestInvalid
from finetune_operator.cli.verb import Verb
from finetune_operator.settings import Settings


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("files", metavar="job.yaml", nargs="+", help="FineTuneJobs; - reads standard input")


def _run(arguments: Namespace) -> int:
    settings = Settings.from_environment()
    return max(_validated(file, settings) for file in arguments.files)


def _validated(file: str, settings: Settings) -> int:
    """0 and OK on standard output, or 1 and the faults on standard error."""
    try:
        told = _check(manifest.read(file), settings)
    except ManifestInvalid as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{file}: OK")
    for note in told:
        print(f"  note: {note}")
    return 0


def _check(source: manifest.Source, settings: Settings) -> tuple[str, ...]:
    """The manifest, and that its children can be rendered; notes for people."""
    job = door.admit(source, settings)
    try:
        render.children(plan.run_plan(job, 1, settings))
    except render.OverlayInvalid as error:
        raise ManifestInvalid(source.at(error.path, error.message)) from error
    return door.notes(job, settings)


VERB = Verb(help="check jobs without a cluster: OK, or every violation with its line", configure=_configure, run=_run)
