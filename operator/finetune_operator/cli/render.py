"""`finetune render job.yaml`: what the operator would apply, as YAML."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from finetune_operator import plan, render
from finetune_operator.cli import door, manifest
from finetune_operator.cli.verb import Verb
from finetune_operator.observe import Observed
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob
from finetune_trainer import deepspeed
from finetune_trainer.records import DEEPSPEED_FILE, STATE_DIR


def _configure(parser: ArgumentParser) -> None:
    manifest.add_arguments(parser)
    parser.add_argument("--attempt", type=int, default=1, help="which attempt to render (%(default)s)")


def _run(arguments: Namespace) -> int:
    settings = Settings.from_environment()
    source = manifest.read(arguments.file, arguments.namespace)
    job = door.admit(source, settings)
    try:
        found = manifests(job, arguments.attempt, settings)
    except render.OverlayInvalid as error:
        raise manifest.ManifestInvalid(source.at(error.path, error.message)) from error
    for note in (*door.notes(job, settings), *_autos(job)):
        print(f"note: {note}", file=sys.stderr)
    print(render.documents(found), end="")
    return 0


def manifests(job: FineTuneJob, attempt: int, settings: Settings) -> tuple[render.Manifest, ...]:
    """Of the preparation, if there is one, of the attempt, and of the export, if there is one."""
    prepares = plan.prepare_plan(job, settings)
    first = render.preparation(prepares) if prepares is not None else ()
    last = render.exportation(plan.export_plan(job, Observed(), settings)) if plan.awaits_export(job) else ()
    return (*first, *render.children(plan.run_plan(job, attempt, settings, prepared=plan.assumed(job))), *last)


def _autos(job: FineTuneJob) -> Iterator[str]:
    """What `auto` in ds.json stands for."""
    config = deepspeed.resolve(job.training, world_size=job.spec.world_size)
    found = deepspeed.filled(config or {}, job.training, world_size=job.spec.world_size)
    if known := [f"{path} {json.dumps(value)}" for path, value in found.items() if value is not None]:
        yield f"auto in {DEEPSPEED_FILE} stands for {', '.join(known)}"
    if later := [path.rpartition(".")[2] for path, value in found.items() if value is None]:
        yield f"{', '.join(later)} follow from the model when a run begins: <output>/{STATE_DIR}/{DEEPSPEED_FILE}"


VERB = Verb(help="print the manifests that the operator would apply for a job", configure=_configure, run=_run)
