"""The configuration folder: complete, immutable, owned, and without secrets."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from finetune_operator import render
from finetune_operator.plan import RunPlan
from finetune_operator.render import Manifest
from finetune_trainer.config import load_yaml, parse
from finetune_trainer.records import RunSpec


def configmaps(plan: RunPlan) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in render.children(plan) if one["kind"] == "ConfigMap"}


def test_frozen_files_read_back_as_what_was_planned(planned: Any) -> None:
    plan = planned()
    data = configmaps(plan)["tuned-config"]["data"]
    assert load_yaml(data["train.yaml"]) == plan.train
    assert json.loads(data["dataset_info.json"]) == plan.dataset_info
    assert RunSpec.from_json(data["run.json"]) == plan.run


def test_train_file_is_a_config_of_the_trainer(planned: Any) -> None:
    training = {"stage": "sft", "finetuning_type": "full", "template": "qwen", "learning_rate": 1e-5}
    data = configmaps(planned(training=training))["tuned-config"]["data"]
    assert parse(load_yaml(data["train.yaml"])).training.learning_rate == 1e-5


@pytest.mark.parametrize(("said", "there"), [({}, False), ({"deepspeed": "zero3"}, True)])
def test_deepspeed_file_only_where_deepspeed_is_used(planned: Any, said: dict[str, str], there: bool) -> None:
    training = {"stage": "sft", "finetuning_type": "full", "template": "qwen", **said}
    data = configmaps(planned(training=training))["tuned-config"]["data"]
    assert ("ds.json" in data) is there


def test_frozen_configmap_says_what_was_frozen(planned: Any) -> None:
    plan = planned()
    metadata = configmaps(plan)["tuned-config"]["metadata"]
    assert metadata["annotations"] == {
        "finetune.dev/job": "tuned",
        "finetune.dev/spec-hash": plan.job.spec_hash,
        "finetune.dev/contract-version": "1",
        "finetune.dev/image": "finetune-trainer:0.1.0",
        "finetune.dev/nodes": str(plan.run.nodes),
    }


def test_later_attempts_leave_the_frozen_configmap_alone(planned: Any) -> None:
    plan = dataclasses.replace(planned(attempt=2), freeze=False)
    assert list(configmaps(plan)) == ["tuned-2"]


@pytest.mark.parametrize(
    ("nodes", "lines"),
    [
        (1, ["tuned-1-master-0 slots=2"]),
        (3, ["tuned-1-master-0 slots=2", "tuned-1-worker-0 slots=2", "tuned-1-worker-1 slots=2"]),
    ],
)
def test_hostfile_names_every_pod_with_its_processes(planned: Any, nodes: int, lines: list[str]) -> None:
    plan = planned(resources={"nodes": nodes, "gpusPerNode": 0, "processesPerNode": 2})
    assert configmaps(plan)["tuned-1"]["data"] == {"hostfile": "".join(f"{line}\n" for line in lines)}


def test_children_come_in_order_and_belong_to_the_job(planned: Any) -> None:
    children = render.children(planned())
    assert [one["kind"] for one in children] == ["ConfigMap", "ConfigMap", "PyTorchJob"]
    assert [one.get("immutable", False) for one in children[:2]] == [True, False]
    for child in children:
        (owner,) = child["metadata"]["ownerReferences"]
        assert (owner["controller"], owner["blockOwnerDeletion"]) == (True, True)
        assert (owner["kind"], owner["name"], owner["uid"]) == (
            "FineTuneJob", "tuned", "11111111-2222-4333-8444-555555555555",
        )  # fmt: skip
        assert child["metadata"]["namespace"] == "team-a"
        assert child["metadata"]["labels"]["finetune.dev/job-name"] == "tuned"
        assert child["metadata"]["annotations"]["finetune.dev/job"] == "tuned"


def test_a_long_name_is_kept_whole_in_the_annotation(planned: Any) -> None:
    name = "a-very-long-name-with.dots-" + "x" * 40
    for child in render.children(planned(name=name)):
        assert child["metadata"]["annotations"]["finetune.dev/job"] == name
        assert len(child["metadata"]["labels"]["finetune.dev/job-name"]) <= 63


def test_a_job_that_was_never_in_a_cluster_owns_nothing(planned: Any) -> None:
    for child in render.children(planned(uid="")):
        assert "ownerReferences" not in child["metadata"]
        assert "" not in child["metadata"]["labels"].values()


def test_the_environment_never_reaches_a_configmap(planned: Any) -> None:
    env = [
        {"name": "PLAIN", "value": "plain-value"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "secret-name", "key": "secret-key"}}},
    ]
    model = {"uri": "pvc://models/tiny", "secretRef": {"name": "token-secret"}}
    text = render.documents(configmaps(planned(env=env, model=model)).values())
    for word in ("plain-value", "secret-name", "secret-key", "token-secret"):
        assert word not in text


def test_long_texts_are_blocks_that_people_can_read(planned: Any) -> None:
    text = render.documents(render.children(planned()))
    assert "train.yaml: |\n" in text
    assert "&id" not in text
