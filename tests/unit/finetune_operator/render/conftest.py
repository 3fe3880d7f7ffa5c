"""A job in a few words, planned as the operator plans it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from finetune_operator import plan, render, spec
from finetune_operator.render import Manifest
from finetune_operator.settings import Settings

UID = "11111111-2222-4333-8444-555555555555"
SPEC: dict[str, Any] = {
    "model": {"uri": "pvc://models/tiny"},
    "datasets": [{"name": "rows", "uri": "pvc://datasets/rows.json"}],
    "training": {"stage": "sft", "finetuning_type": "full", "template": "qwen", "output_dir": "out"},
    "storage": {"output": {"claimName": "runs"}},
}

Planned = Callable[..., plan.RunPlan]


@pytest.fixture
def planned() -> Planned:
    def build(
        *, settings: Settings | None = None, attempt: int = 1, uid: str = UID, name: str = "tuned", **said: Any
    ) -> plan.RunPlan:
        body = {
            "apiVersion": "finetune.dev/v1alpha1",
            "kind": "FineTuneJob",
            "metadata": {"name": name, "namespace": "team-a", "uid": uid, "generation": 1},
            "spec": SPEC | said,
        }
        return plan.run_plan(spec.parse(body), attempt, settings or Settings())

    return build


@pytest.fixture
def pod(planned: Planned) -> Callable[..., Manifest]:
    """The pods' template of such a job."""

    def build(**said: Any) -> Manifest:
        pytorchjob = render.children(planned(**said))[-1]
        template: Manifest = pytorchjob["spec"]["pytorchReplicaSpecs"]["Master"]["template"]
        return template

    return build


@pytest.fixture
def trainer(pod: Callable[..., Manifest]) -> Callable[..., Manifest]:
    """The trainer's container of such a job."""

    def build(**said: Any) -> Manifest:
        template = pod(**said)
        return next(one for one in template["spec"]["containers"] if one["name"] == "pytorch")

    return build
