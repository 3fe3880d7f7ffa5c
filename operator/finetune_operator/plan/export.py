"""What is made of the trained model when the GPUs are given back, and how far that is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from finetune_operator import names
from finetune_operator.network_profiles import NetworkProfile
from finetune_operator.observe import Observed
from finetune_operator.plan.run import PODS, Paths, run_plan
from finetune_operator.plan.side_job import Refused, SideJobPlan, failed, waiting
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob


@dataclass(frozen=True, kw_only=True, slots=True)
class Exporting:
    """Not yet."""

    message: str = ""
    start: SideJobPlan | None = None
    """To be rendered and applied."""


Stage = Exporting | Refused | None
"""None: nothing is left to be exported."""


def awaits_export(job: FineTuneJob) -> bool:
    """Whether there is something to do after the training: the job says so, and status does not call it done."""
    said = job.spec.export is not None and job.spec.export.merge
    return said and "exportedModel" not in job.recorded.status


def stage(job: FineTuneJob, observed: Observed, settings: Settings) -> Stage:
    """Where the export of a job that is trained stands."""
    if not awaits_export(job):
        return None
    seen = observed.export
    if seen is None:
        return Exporting(start=export_plan(job, observed, settings))
    if seen.deleting:
        return Exporting(message=f"Job {seen.name} is being deleted")
    if seen.phase == "Active":
        return Exporting(message=waiting(seen, "the export"))
    if seen.phase == "Failed" or seen.found is None:
        refused = failed(seen, "ExportFailed")
        return dataclasses.replace(refused, message=f"trained, and not exported: {refused.message}")
    return None


def export_plan(job: FineTuneJob, observed: Observed, settings: Settings, paths: Paths = PODS) -> SideJobPlan:
    """The files that the ranks had, in a pod of its own that tells nobody how far it is."""
    assert job.spec.export is not None, "asked for jobs that say so"
    run = run_plan(job, 0, settings, frozen=observed.frozen, paths=paths)
    silent = dataclasses.replace(run.run, progress_url=None)
    run = dataclasses.replace(
        run,
        name=run.config_name,
        run=silent,
        network=NetworkProfile(),
        avoided_nodes=(),
        suspended=False,
        intake_ca=None,
    )
    name = names.export_name(job.name)
    return SideJobPlan(name=name, run=run, said=job.spec.export, retries=settings.prepare_retries)
