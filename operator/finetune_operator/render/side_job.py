"""A Job (batch/v1) of one pod without a GPU: again and again until it has done its work or said that it never will."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finetune_operator import names
from finetune_operator.plan import SideJobPlan
from finetune_operator.render import metadata, pod
from finetune_operator.render.metadata import Manifest
from finetune_trainer.records import EXIT_LASTING

GRACE_SECONDS = 30


def of(plan: SideJobPlan, role: str, command: Sequence[str], annotations: Mapping[str, str] | None = None) -> Manifest:
    """The Job.

    Raises:
        OverlayInvalid: spec.podTemplate can't be merged.
    """
    labels = metadata.of_job(plan.run, role)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata.child(plan.run, plan.name, labels, annotations),
        "spec": {
            "backoffLimit": plan.retries,
            "podFailurePolicy": {"rules": _rules()},
            "template": pod.of(
                plan.run,
                labels,
                command=command,
                grace_seconds=GRACE_SECONDS,
                resources=_resources(plan),
                restart_policy="Never",
                patch=_patch(plan.run.job.spec.pod_template),
                node_selector=plan.said.node_selector,
            ),
        },
    }


def _patch(overlay: Mapping[str, Any]) -> dict[str, Any]:
    """The user's overlay without the ranks' resources, which it does not need."""
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


def _resources(plan: SideJobPlan) -> Manifest:
    """What it asks for; a limit would only slow it down, or kill it over a cache of files."""
    said = (("cpu", plan.said.cpu), ("memory", plan.said.memory))
    asked = {name: amount for name, amount in said if amount is not None}
    return {"requests": asked} if asked else {}
