"""What has to be done before GPUs are taken, how far it is, and whether what it found lets the job start."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from finetune_operator import names
from finetune_operator.network_profiles import NetworkProfile
from finetune_operator.observe import Observed, ObservedJob
from finetune_operator.plan.run import PODS, Paths, RunPlan, run_plan
from finetune_operator.plan.side_job import Refused, SideJobPlan, failed, waiting
from finetune_operator.plan.source import fetched_folder, source_of
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob
from finetune_trainer.records import Preparation, PrepareSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparePlan(SideJobPlan):
    """A preparation; its run has the files that the ranks will get."""

    wanted: PrepareSpec
    """prepare.json."""
    hash: str
    """Of all that it is told: with another one it is done again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """Nothing keeps attempt 1 from starting."""

    found: Preparation | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparing:
    """Not yet."""

    message: str = ""
    start: PreparePlan | None = None
    """To be rendered and applied."""
    obsolete: tuple[tuple[str, str], ...] = ()


Stage = Ready | Preparing | Refused


def stage(job: FineTuneJob, observed: Observed, settings: Settings) -> Stage:
    """Where the preparation of a job that has not started stands."""
    wished = prepare_plan(job, settings)
    if wished is None:
        return Ready()
    seen = observed.prepare
    if seen is None:
        return Preparing(start=wished)
    if seen.deleting or seen.hash != wished.hash:
        return Preparing(
            message="the job was changed: it is prepared anew", obsolete=() if seen.deleting else _of(seen)
        )
    if seen.phase == "Active":
        return Preparing(message=waiting(seen, "the preparation"))
    if seen.phase == "Failed" or seen.found is None:
        return failed(seen, "PrepareFailed")
    return _verdict(job, seen.found)


def prepare_plan(job: FineTuneJob, settings: Settings, paths: Paths = PODS) -> PreparePlan | None:
    """What is to be prepared; None where nothing is."""
    wanted = wishes(job, paths)
    if wanted is None:
        return None
    name = names.prepare_name(job.name)
    run = run_plan(job, 0, settings, paths=paths)
    run = dataclasses.replace(run, name=name, config_name=name, network=NetworkProfile(), suspended=False)
    return PreparePlan(
        name=name,
        run=run,
        said=job.spec.prepare,
        retries=settings.prepare_retries,
        wanted=wanted,
        hash=_hash(run, wanted),
    )


def wishes(job: FineTuneJob, paths: Paths = PODS) -> PrepareSpec | None:
    """prepare.json; None where a preparation would have nothing to do, or nowhere to leave it."""
    storage, resources = job.spec.storage, job.spec.resources
    source = source_of(job.spec)
    is_here = source is None or storage.cache is not None
    keeps = storage.cache is not None or storage.output is not None
    data = is_here and keeps and resources.gpus_per_node > 0 and not job.training.data.streaming
    sizes = is_here and resources.gpu_memory is not None
    fetches = source is not None and is_here
    if not (data or sizes or fetches):
        return None
    return PrepareSpec(
        source=source if fetches else None, cache=paths.cache, data=data, gpu_memory=resources.gpu_memory
    )


def assumed(job: FineTuneJob, paths: Paths = PODS) -> Preparation | None:
    """What a preparation will have found, as far as the manifest tells: for showing what would be applied."""
    wanted = wishes(job, paths)
    if wanted is None:
        return None
    folder = None if wanted.source is None else f"{paths.cache}/{fetched_folder(wanted.source)}"
    return Preparation(
        result="succeeded", reason="Prepared", message="", retryable=False, model=folder, data=wanted.data
    )


def unfinished(observed: Observed) -> tuple[tuple[str, str], ...]:
    """What to delete of a preparation that is to stop; what it fetched stays."""
    seen = observed.prepare
    return () if seen is None or seen.deleting or seen.phase != "Active" else _of(seen)


def _hash(run: RunPlan, wanted: PrepareSpec) -> str:
    """SHA-256, 16 hexadecimal digits."""
    prepare = run.job.spec.prepare.model_dump()
    told = [run.train, run.deepspeed, run.dataset_info, dataclasses.asdict(run.run), dataclasses.asdict(wanted)]
    text = json.dumps([*told, run.image, prepare], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _of(seen: ObservedJob[Preparation]) -> tuple[tuple[str, str], ...]:
    """The Job, then the ConfigMap, which can't be changed."""
    return (("Job", seen.name), ("ConfigMap", seen.name))


def _verdict(job: FineTuneJob, found: Preparation) -> Stage:
    if found.fits is not False or job.ignores_memory:
        return Ready(found=found)
    return Refused(
        reason=names.DOES_NOT_FIT, message="; ".join(filter(None, (found.message, found.instead, names.STARTS_ANYWAY)))
    )
