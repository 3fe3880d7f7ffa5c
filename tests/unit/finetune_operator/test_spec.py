"""Manifest -> FineTuneJob: what is accepted, what is refused and in which words, who owns a key."""

from typing import Any

import pytest
import yaml
from small_manifest import manifest, refused, trained

from finetune_operator.spec import (
    DATASET_SCHEMES,
    MODEL_SCHEMES,
    claims,
    parse,
    parse_location,
)
from finetune_trainer.config import load_yaml

TELECHAT = """
apiVersion: finetune.dev/v1alpha1
kind: FineTuneJob
metadata: {name: telechat3-36b, namespace: team-a, uid: u-1, generation: 3}
spec:
  model: {uri: "hf://TeleAI/TeleChat3-36B-Thinking", secretRef: {name: modelscope-token}}
  datasets:
  - name: identity
  - name: support-tickets
    uri: pvc://datasets/tickets.jsonl
    info: {formatting: sharegpt, columns: {messages: messages}}
  training:
    stage: sft
    do_train: true
    finetuning_type: full
    template: telechat2
    cutoff_len: 8192
    deepspeed: zero3
    learning_rate: 1.0e-5
    num_train_epochs: 3.0
    resume_from_checkpoint: null
  resources: {nodes: 4, gpusPerNode: 8, cpu: 64, memory: 1Ti, extra: {rdma/hca: 1}}
  storage: {output: {claimName: runs}, cache: {claimName: models}, sharedMemory: 64Gi}
  scheduling: {queue: team-a, nodeSelector: {}, tolerations: [], startTimeoutSeconds: 1800}
  runPolicy: {suspend: false, activeDeadlineSeconds: null, cleanPods: Running}
  podTemplate: {}
"""


def test_the_manifest_of_the_first_users_is_accepted() -> None:
    job = parse(load_yaml(TELECHAT))
    assert (job.namespace, job.name, job.uid, job.generation) == ("team-a", "telechat3-36b", "u-1", 3)
    assert job.spec.world_size == 32
    assert job.spec.resources.cpu == "64"
    assert job.training.model.model_name_or_path == "TeleAI/TeleChat3-36B-Thinking"
    assert job.training.data.dataset == ("identity", "support-tickets")
    assert job.training.training.learning_rate == 1e-5
    assert job.notes == ()


def test_a_manifest_needs_little() -> None:
    job = parse({"metadata": {"name": "j"}, "spec": {"training": {"model_name_or_path": "gpt2", "dataset": "a,b"}}})
    assert (job.namespace, job.uid, job.generation, job.spec.world_size) == ("default", "", 0, 1)
    assert job.training.training.output_dir == "output"
    assert job.notes == (
        "spec.storage.output is not said: what the run writes is lost with its pod",
        "no checkpoint outlives its pod: each of spec.runPolicy.maxAttempts 4 begins at step 0",
    )


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"storage": {}}, "no checkpoint outlives its pod"),
        ({"training": {"do_train": True, "save_only_model": True}}, "training.save_only_model leaves the optimiser"),
        ({"training": {"do_train": True, "save_strategy": "no"}}, "training.save_strategy no leaves no checkpoint"),
    ],
)
def test_a_restart_that_begins_at_step_0_is_told(changes: dict[str, Any], word: str) -> None:
    changes = {"training": {"do_train": True}, **changes}
    notes = trained(**changes).notes
    assert [note for note in notes if note.startswith(word) and note.endswith("maxAttempts 4 begins at step 0")]
    once = trained(**changes, runPolicy={"maxAttempts": 1}).notes
    assert not [note for note in once if "step 0" in note]
    assert trained(training={"do_train": True}).notes == ()
    assert trained(training={"save_strategy": "no"}, runPolicy={"checkpointSeconds": 600}).notes == ()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"resources": {"nodes": 0}}, "spec.resources.nodes: must be at least 1, not 0"),
        ({"resources": {"nodes": 5000}}, "spec.resources.nodes: must be at most 1024, not 5000"),
        ({"resources": {"nodes": "2"}}, "spec.resources.nodes: must be a whole number, not 2"),
        ({"resources": {"nodes": 1.5}}, "spec.resources.nodes: must be a whole number, not 1.5"),
        ({"resources": {"processesPerNode": 0}}, "spec.resources.processesPerNode: must be at least 1, not 0"),
        (
            {"resources": {"gpusPerNode": 2, "processesPerNode": 3}},
            "spec.resources: processesPerNode must be at most gpusPerNode: each process needs a GPU of its own",
        ),
        (
            {"resources": {"memory": "1Tb"}},
            "spec.resources.memory: must be a quantity such as 64, 500m or 80Gi, not 1Tb",
        ),
        ({"resources": {"gpusPerNodes": 2}}, "spec.resources.gpusPerNodes: unknown field; did you mean gpusPerNode?"),
        (
            {"resources": {"gpus_per_node": 2}},
            "spec.resources.gpus_per_node: unknown field; did you mean gpusPerNode?",
        ),
        (
            {"storage": {"output": {"claimName": "runs", "name": "runs"}}},
            "spec.storage.output.name: unknown field; known here: claimName, subPath",
        ),
        ({"nodes": 2}, "spec.nodes: unknown field; did you mean spec.resources.nodes?"),
        ({"learning_rate": 2}, "spec.learning_rate: unknown field; did you mean spec.training.learning_rate?"),
        ({"launcher": "torchrunn"}, "spec.launcher: must be torchrun or deepspeed, not torchrunn"),
        ({"runPolicy": {"suspend": "yes"}}, "spec.runPolicy.suspend: must be true or false, not yes"),
        ({"storage": 3}, "spec.storage: must be a mapping, not 3"),
        (
            {"storage": {"output": {}}},
            "spec.storage.output.claimName: is required: Name of the PersistentVolumeClaim.",
        ),
        (
            {"storage": {"output": {"claimName": "a", "subPath": "../b"}}},
            "spec.storage.output.subPath: must be a relative path without .., not ../b",
        ),
        ({"env": {"A": "1"}}, 'spec.env: must be a list, not {"A": "1"}'),
        (
            {"training": None},
            "spec.training: is required: A LLaMA-Factory config, pasted as it is; unknown keys are refused.",
        ),
        ({"training": {"learning_rat": 1}}, "spec.training.learning_rat: unknown key; did you mean learning_rate?"),
        (
            {"training": {"output_dir": "a/../../b"}},
            "spec.training.output_dir: must not contain .., as a/../../b does",
        ),
        ({"model": {"uri": "hf://a/b/c"}}, "spec.model.uri: must be hf://org/name, not hf://a/b/c"),
        ({"model": {"uri": "gs://bucket/a"}}, "spec.model.uri: gs:// is not supported yet; write hf://org/name"),
        ({"model": {"uri": "./a"}}, "spec.model.uri: must be hf://org/name, ms://org/name, s3://"),
        ({"model": {"uri": "pvc://claim/../other"}}, "spec.model.uri: must not contain .., as ../other does"),
        ({"model": None}, "spec.model: say which model: uri here, or model_name_or_path in spec.training"),
        ({"datasets": None}, "spec.datasets: say which data to train on: a list here, or dataset in spec.training"),
        ({"datasets": [{"name": "a,b"}]}, "spec.datasets[0].name: must be one word without commas, not a,b"),
        ({"datasets": [{"name": "a"}, {"name": "a"}]}, "spec.datasets[1].name: a is there twice"),
        ({"model": {"uri": "oci://a/b"}}, "spec.model.uri: oci:// is not supported yet; write hf://org/name"),
        ({"model": {"uri": "https://host"}}, "spec.model.uri: must be https://host/folder, not https://host"),
        ({"model": {"uri": "https://me:pw@host/a"}}, "spec.model.uri: must not hold a password: put a netrc file"),
        ({"datasets": [{"name": "a", "uri": "https://a/b"}]}, "spec.datasets[0].uri: https:// is not supported yet"),
        ({"datasets": [{"name": "a", "uri": "s3://bucket"}]}, "spec.datasets[0].uri: must be s3://bucket/file, not"),
        ({"datasets": [{"name": "a", "info": {}}]}, "spec.datasets[0].info: describes a source of its own"),
        (
            {"datasets": [{"name": "a", "uri": "/a.json", "info": {"file_name": "b.json"}}]},
            "spec.datasets[0].info.file_name: leave it out; uri says where the data lies",
        ),
    ],
)
def test_a_wrong_field_is_refused_where_it_stands(spec: dict[str, Any], message: str) -> None:
    [told] = refused(manifest(**spec))
    assert told.startswith(message)


def test_every_wrong_field_is_told_at_once() -> None:
    body = manifest(
        model={},
        datasets=[{"name": "a", "uri": "https://b/c"}],
        training={"learning_rat": 1, "cutoff_len": "long"},
        resources={"nodes": 0, "gpusPerNode": "all"},
    )
    body |= {"kind": "Job", "metadata": {}}
    assert [line.partition(":")[0] for line in refused(body)] == [
        "kind",
        "metadata.name",
        "spec.resources.nodes",
        "spec.resources.gpusPerNode",
        "spec.model",
        "spec.datasets[0].uri",
        "spec.training.learning_rat",
        "spec.training.cutoff_len",
    ]


def test_a_violation_never_repeats_a_secret_of_training() -> None:
    [told] = refused(manifest(training={"hf_hub_token": "hf_abcdef"}))
    assert told.startswith("spec.training.hf_hub_token: ")
    assert "hf_abcdef" not in told


@pytest.mark.parametrize(
    "body", [{}, {"metadata": {"name": "j"}, "spec": None}, {"metadata": {"name": "j"}, "spec": []}]
)
def test_no_spec_at_all(body: dict[str, Any]) -> None:
    assert refused(body)[-1].startswith("spec: must be a mapping, not ")


def test_null_stands_for_the_default_but_for_fs_group() -> None:
    job = trained(runPolicy={"maxAttempts": None}, resources={"gpuResource": None}, scheduling=None)
    assert (job.spec.run_policy.max_attempts, job.spec.resources.gpu_resource) == (4, "nvidia.com/gpu")
    loose = trained(storage={"output": {"claimName": "runs"}, "fsGroup": None})
    assert loose.spec.storage.fs_group is None
    assert "spec.storage.fsGroup is null" in loose.notes[0]


def test_idle_gpus_are_told() -> None:
    assert trained(resources={"gpusPerNode": 8, "processesPerNode": 6}).notes == (
        "2 GPUs of each node stay idle: one per process",
    )


def test_claims_of_a_job() -> None:
    job = trained(
        model={"uri": "pvc://models/smollm"},
        datasets=[{"name": "a", "uri": "pvc://data/a.jsonl"}, {"name": "b", "uri": "pvc://data/b.jsonl"}],
        storage={"output": {"claimName": "runs"}, "cache": {"claimName": "models"}},
    )
    assert claims(job.spec) == {
        "runs": ("spec.storage.output",),
        "models": ("spec.storage.cache", "spec.model.uri"),
        "data": ("spec.datasets[0].uri", "spec.datasets[1].uri"),
    }


def test_a_location_is_taken_apart() -> None:
    found = parse_location("pvc://models//a/./b/", MODEL_SCHEMES)
    assert (found.scheme, found.name, found.path) == ("pvc", "models", "a/b")
    assert parse_location("pvc://models", MODEL_SCHEMES).path == ""
    bucket = parse_location("s3://my-bucket/rows/a.jsonl", DATASET_SCHEMES)
    assert (bucket.scheme, bucket.name, bucket.path) == ("s3", "my-bucket", "rows/a.jsonl")
    assert parse_location("ms://org/name", DATASET_SCHEMES).name == "org/name"


SAME = {
    "learning_rate": 1e-5,
    "num_train_epochs": 3,
    "deepspeed": {"zero_optimization": {"stage": 2, "reduce_bucket_size": 5e8}},
}


@pytest.mark.parametrize(
    "change",
    [
        {"num_train_epochs": 3.0},
        {"learning_rate": "1e-5"},
        {"deepspeed": {"zero_optimization": {"reduce_bucket_size": "5e8", "stage": 2.0}}},
        {"resume_from_checkpoint": None},
    ],
)
def test_the_hash_sees_through_spelling(change: dict[str, Any]) -> None:
    assert trained(training=SAME | change).spec_hash == trained(training=SAME).spec_hash


def test_the_hash_is_the_same_for_any_loader() -> None:
    training = "{model_name_or_path: m, dataset: d, learning_rate: 1e-5, num_train_epochs: 3.0}"
    lines = f"metadata: {{name: j}}\nspec: {{training: {training}}}"
    ours, theirs = load_yaml(lines), yaml.safe_load(lines)
    assert theirs["spec"]["training"]["learning_rate"] == "1e-5"
    assert parse(ours).spec_hash == parse(theirs).spec_hash


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"uri": "hf://a/b"}},
        {"model": {"uri": "hf://HuggingFaceTB/SmolLM2-135M-Instruct", "revision": "v2"}},
        {"datasets": [{"name": "other"}]},
        {"datasets": [{"name": "identity", "uri": "/identity.json"}]},
        {"training": {"stage": "sft", "seed": 1}},
        {"storage": {"output": {"claimName": "others"}}},
        {"resources": {"nodes": 2}},
        {"resources": {"processesPerNode": 2}},
    ],
)
def test_the_hash_knows_what_decides_the_result(change: dict[str, Any]) -> None:
    assert trained(**change).spec_hash != trained().spec_hash


@pytest.mark.parametrize(
    "change", [{"runPolicy": {"suspend": True}}, {"env": [{"name": "A", "value": "1"}]}, {"launcher": "torchrun"}]
)
def test_the_hash_leaves_out_what_does_not(change: dict[str, Any]) -> None:
    assert trained(**change).spec_hash == trained().spec_hash
    assert len(trained().spec_hash) == 16
