"""The Job that prepares (batch/v1), and the files that it reads."""

from __future__ import annotations

import dataclasses

from finetune_operator import names
from finetune_operator.plan import PreparePlan
from finetune_operator.render import configmap, metadata, side_job
from finetune_operator.render.metadata import Manifest
from finetune_operator.render.text import json_text
from finetune_trainer.records import PREPARE_FILE

COMMAND = ("finetune", "prepare")


def files(plan: PreparePlan) -> Manifest:
    """What the ranks will read, with what is to be prepared."""
    wanted = json_text(dataclasses.asdict(plan.wanted))
    data = {**configmap.files(plan.run), **configmap.authority(plan.run), PREPARE_FILE: wanted}
    labels = metadata.of_job(plan.run, names.ROLE_PREPARE)
    return configmap.of(metadata.child(plan.run, plan.run.config_name, labels), data)


def job(plan: PreparePlan) -> Manifest:
    """The Job.

    Raises:
        OverlayInvalid: spec.podTemplate can't be merged.
    """
    return side_job.of(plan, names.ROLE_PREPARE, COMMAND, {names.ANNOTATION_PREPARES: plan.hash})
