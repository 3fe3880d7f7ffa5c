"""`finetune run job.yaml`: the job on this machine, each node as a process."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from finetune_operator.cli import door, manifest
from finetune_operator.cli.verb import Verb
from finetune_operator.plan.run import output_dir
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob
from finetune_operator.spec.pods import Claim

WORKDIR = "finetune-runs"


def _configure(parser: ArgumentParser) -> None:
    manifest.add_arguments(parser)
    parser.add_argument(
        "--workdir", type=Path, default=Path(WORKDIR), help="where claims, logs and results lie (%(default)s)"
    )
    parser.add_argument(
        "--claim",
        dest="claims",
        metavar="NAME=FOLDER",
        type=_claim,
        action="append",
        default=[],
        help="a folder for a PersistentVolumeClaim; <workdir>/claims/NAME unless said; may be given several times",
    )
    parser.add_argument(
        "--attempts", type=int, metavar="N", help="attempts that may fail; spec.runPolicy.maxAttempts unless said"
    )


def _claim(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if not name or not folder:
        raise ArgumentTypeError(f"expected NAME=FOLDER, got {text!r}")
    return name, Path(folder)


def _run(arguments: Namespace) -> int:
    from rich.console import Console

    from finetune_operator import local
    from finetune_operator.local.display import Display

    # Nobody listens on this machine: progress is read from the run's folder.
    settings = Settings.from_environment().model_copy(update={"intake_url": None})
    job = door.admit(manifest.read(arguments.file, arguments.namespace, uid=str(uuid4())), settings)
    job = _with_cache(_with_attempts(job, arguments.attempts))
    # Nodes of one machine meet on it: what the cluster's network asks for is neither needed nor there.
    here = settings.model_copy(update={"network_profiles": {}})
    folders = local.Folders(
        workdir=arguments.workdir.resolve(), namespace=job.namespace, job=job.name, given=dict(arguments.claims)
    )
    with Display(Console()) as display:
        for note in door.notes(job, settings):
            display.say(f"note: {note}")
        code = local.run(local.LocalRun(job=job, folders=folders, settings=here), display)
    display.say(f"results: {Path(output_dir(job, folders.paths)).resolve()}")
    return code


def _with_attempts(job: FineTuneJob, attempts: int | None) -> FineTuneJob:
    if attempts is None:
        return job
    policy = job.spec.run_policy.model_copy(update={"max_attempts": attempts})
    return replace(job, spec=job.spec.model_copy(update={"run_policy": policy}))


def _with_cache(job: FineTuneJob) -> FineTuneJob:
    """This machine keeps models, whatever the job says."""
    if job.spec.storage.cache is not None:
        return job
    storage = job.spec.storage.model_copy(update={"cache": Claim(claim_name="cache")})
    return replace(job, spec=job.spec.model_copy(update={"storage": storage}))


VERB = Verb(help="run a job on this machine, without a cluster", configure=_configure, run=_run)
