"""What `kubectl apply` is told: the operator's whole answer, before the object is stored."""

from __future__ import annotations

import copy
from typing import Any

from finetune_operator.admission import answer
from finetune_operator.settings import Settings

SETTINGS = Settings()


def body(**spec: Any) -> dict[str, Any]:
    small = {
        "model": {"uri": "hf://HuggingFaceTB/SmolLM2-135M-Instruct"},
        "datasets": [{"name": "identity"}],
        "training": {"stage": "sft", "template": "smollm2"},
        "storage": {"output": {"claimName": "runs"}},
    }
    return {"metadata": {"name": "job", "namespace": "team-a"}, "spec": small | spec}


def test_a_good_job_is_taken_though_its_claim_may_come_a_moment_later() -> None:
    assert answer(body(), None, SETTINGS).refusal is None


def test_every_mistake_is_told_at_once_with_its_path_and_what_would_work() -> None:
    wrong = body(
        training={"stage": "sft", "template": "smollm2", "lerning_rate": 1e-5, "num_train_epochs": "three"},
        resources={"nodes": 2}, storage={},
    )  # fmt: skip
    said = answer(wrong, None, SETTINGS).refusal or ""
    assert "spec.training.lerning_rate" in said
    assert "learning_rate" in said
    assert "spec.training.num_train_epochs" in said


def test_what_the_owner_forbids_is_refused_too() -> None:
    template = {"spec": {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}}
    assert "hostPath" in (answer(body(podTemplate=template), None, SETTINGS).refusal or "")
    assert answer(body(podTemplate=template), None, Settings(allow_host_path=True)).refusal is None


def test_what_does_not_fit_is_a_warning_that_says_what_would() -> None:
    large = body(model={"uri": "hf://Qwen/Qwen2.5-72B"}, resources={"nodes": 1, "gpusPerNode": 8, "gpuMemory": "80Gi"})
    said = answer(large, None, SETTINGS)
    assert said.refusal is None
    assert "spec.resources.gpuMemory: 72.71 B parameters, does not fit" in said.warnings[0]


def test_a_change_is_refused_for_what_it_brings_alone() -> None:
    """Newer settings would refuse this job; it can be suspended all the same."""
    template = {"spec": {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}}
    old = body(podTemplate=template)
    suspended = copy.deepcopy(old)
    suspended["spec"]["runPolicy"] = {"suspend": True}
    assert answer(suspended, old, SETTINGS).refusal is None
    worse = copy.deepcopy(suspended)
    worse["spec"]["training"]["template"] = "smolm2"
    said = answer(worse, old, SETTINGS).refusal or ""
    assert "spec.training.template" in said
    assert "hostPath" not in said
