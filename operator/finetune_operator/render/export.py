"""The Job that exports (batch/v1); it reads what the ranks read."""

from __future__ import annotations

from finetune_operator import names
from finetune_operator.plan import SideJobPlan
from finetune_operator.render import side_job
from finetune_operator.render.metadata import Manifest

COMMAND = ("finetune", "export", "--in-job")


def job(plan: SideJobPlan) -> Manifest:
    """The Job.

    Raises:
        OverlayInvalid: spec.podTemplate can't be merged.
    """
    return side_job.of(plan, names.ROLE_EXPORT, COMMAND)
