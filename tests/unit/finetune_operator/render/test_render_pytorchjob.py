"""The PyTorchJob: replicas, policy, queue."""

from __future__ import annotations

from typing import Any

from finetune_operator import render


def test_a_single_node_has_no_worker(planned: Any) -> None:
    replicas = render.children(planned())[-1]["spec"]["pytorchReplicaSpecs"]
    assert {name: one["replicas"] for name, one in replicas.items()} == {"Master": 1}


def test_several_nodes_are_a_master_and_workers_of_one_template(planned: Any) -> None:
    pytorchjob = render.children(planned(resources={"nodes": 4, "gpusPerNode": 8}))[-1]
    replicas = pytorchjob["spec"]["pytorchReplicaSpecs"]
    assert {name: one["replicas"] for name, one in replicas.items()} == {"Master": 1, "Worker": 3}
    assert {one["restartPolicy"] for one in replicas.values()} == {"Never"}
    assert replicas["Master"]["template"] == replicas["Worker"]["template"]
    assert pytorchjob["spec"]["nprocPerNode"] == "8"


def test_run_policy_holds_only_what_the_training_operator_keeps(planned: Any) -> None:
    policy = {"cleanPods": "All", "activeDeadlineSeconds": 60, "maxAttempts": 2}
    assert render.children(planned(runPolicy=policy))[-1]["spec"]["runPolicy"] == {"cleanPodPolicy": "All"}


def test_a_queue_is_named_on_the_pytorchjob_alone_which_starts_suspended(planned: Any) -> None:
    children = render.children(planned(scheduling={"queue": "team-a"}))
    assert children[-1]["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert children[-1]["spec"]["runPolicy"]["suspend"] is True
    assert render.documents(children).count("kueue.x-k8s.io/queue-name") == 1


def test_every_attempt_has_its_own_names_and_labels(planned: Any) -> None:
    for child in render.children(planned(attempt=3))[1:]:
        assert child["metadata"]["name"] == "tuned-3"
        assert child["metadata"]["labels"]["finetune.dev/attempt"] == "3"
