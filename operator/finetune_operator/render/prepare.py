"""The Job that prepares (batch/v1), and the files that it reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from finetune_operator import names
from finetune_operator.plan import PreparePlan
from finetune_operator.render import configmap, metadata, pod
from finetune_operator.render.metadata import Manifest
from finetune_operator.render.text import json_text
from finetune_trainer.records import EXIT_LASTING, PREPARE_FILE

COMMAND = ("finetune", "prepare")
GRACE_SECONDS = 30


def files(plan: PreparePlan) -> Manifest:
    """What the ranks will read, with what is to be prepared."""
    data = {**configmap.files(plan.run), PREPARE_FILE: json_text(dataclasses.asdict(plan.wanted))}
    labels = metadata.of_job(plan.run, names.ROLE_PREPARE)
    return configmap.of(metadata.child(plan.run, plan.run.config_name, labels), data)


def job(plan: PreparePlan) -> Manifest:
    """A pod without a GPU, again and again until it has done its work or said that it never will.

    Raises:
        OverlayInvalid: spec.podTemplate can't be merged.
    """
    labels = metadata.of_job(plan.run, names.ROLE_PREPARE)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata.child(plan.run, plan.run.name, labels, {names.ANNOTATION_PREPARES: plan.hash}),
        "spec": {
            "backoffLimit": plan.retries,
            "podFailurePolicy": {"rules": _rules()},
            "template": pod.of(
                plan.run,
                labels,
                command=COMMAND,
                grace_seconds=GRACE_SECONDS,
                resources=_resources(plan),
                restart_policy="Never",
                patch=_patch(plan.run.job.spec.pod_template),
                node_selector=plan.run.job.spec.prepare.node_selector,
            ),
        },
    }


def _patch(overlay: Mapping[str, Any]) -> dict[str, Any]:
    """The user's overlay without the ranks' resources, which no preparation needs."""
    spec = overlay.get("spec") or {}
    containers = [
        {key: value for key, value in one.items() if key != "resources" or one["name"] != names.CONTAINER}
        for one in spec.get("containers") or []
    ]
    return {**overlay, "spec": {**spec, "containers": containers}} if containers else dict(overlay)


def _rules() -> list[Manifest]:
    """A node that goes is nobody's fault; a mistake is not made again."""
    disrupted = {"type": "DisruptionTarget", "status": "True"}
    lasting = {"containerName": names.CONTAINER, "operator": "In", "values": [EXIT_LASTING]}
    return [
        {"action": "Ignore", "onPodConditions": [disrupted]},
        {"action": "FailJob", "onExitCodes": lasting},
    ]


def _resources(plan: PreparePlan) -> Manifest:
    """What it asks for; a limit would only slow it down, or kill it over a cache of files."""
    said = plan.run.job.spec.prepare
    asked = {name: amount for name, amount in (("cpu", said.cpu), ("memory", said.memory)) if amount is not None}
    return {"requests": asked} if asked else {}
