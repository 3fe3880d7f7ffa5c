"""Names, labels and the owner of every child."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetune_operator import names
from finetune_operator.plan import RunPlan

Manifest = dict[str, Any]


def child(
    plan: RunPlan, name: str, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None
) -> Manifest:
    """metadata of a child that goes when its FineTuneJob goes.

    A job that never was in a cluster (`finetune render` of a file) has no uid, and its children no owner.
    """
    owner = {"ownerReferences": [_owner(plan)]} if plan.job.uid else {}
    return {
        "name": name,
        "namespace": plan.job.namespace,
        "labels": dict(labels),
        "annotations": {names.ANNOTATION_JOB: plan.job.name, **(annotations or {})},
        **owner,
    }


def of_job(plan: RunPlan, role: str) -> dict[str, str]:
    """Labels of what belongs to the job as a whole."""
    uid = {names.LABEL_UID: plan.job.uid} if plan.job.uid else {}
    return {
        names.LABEL_MANAGED_BY: names.FIELD_MANAGER,
        names.LABEL_JOB: names.base_name(plan.job.name),
        **uid,
        names.LABEL_ROLE: role,
    }


def of_attempt(plan: RunPlan, role: str) -> dict[str, str]:
    """Labels of what belongs to one attempt, and goes with it."""
    return {**of_job(plan, role), names.LABEL_ATTEMPT: str(plan.attempt)}


def _owner(plan: RunPlan) -> Manifest:
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": plan.job.name,
        "uid": plan.job.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
