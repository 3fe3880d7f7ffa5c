"""The policies at the door: each refuses what it is for, in words, and lets the rest through."""

from typing import Any

import pytest

from finetune_operator import names
from finetune_operator.checks import CHECKS, check
from finetune_operator.network_profiles import NetworkProfile
from finetune_operator.observe import Observed, ObservedClaim
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob, parse

SOURCES = "secretKeyRef, configMapKeyRef, fieldRef, resourceFieldRef"
RWX, RWO, ROX = "ReadWriteMany", "ReadWriteOnce", "ReadOnlyMany"
STRICT = Settings()


def job(**spec: Any) -> FineTuneJob:
    small = {
        "model": {"uri": "hf://HuggingFaceTB/SmolLM2-135M-Instruct"},
        "datasets": [{"name": "identity"}],
        "training": {"stage": "sft"},
        "storage": {"output": {"claimName": "runs"}},
    }
    return parse({"metadata": {"name": "job", "namespace": "team-a"}, "spec": small | spec})


def told(observed: Observed | None = None, settings: Settings = STRICT, **spec: Any) -> list[str]:
    return [str(violation) for violation in check(job(**spec), observed or Observed(), settings)]


def claim(*modes: str, name: str = "runs", found: bool = True) -> Observed:
    return Observed(claims={name: ObservedClaim(name=name, found=found, access_modes=modes)})


def overlay(template: dict[str, Any], settings: Settings = STRICT) -> list[str]:
    return told(settings=settings, podTemplate=template)


def test_a_good_job_passes_every_policy() -> None:
    good = {
        "training": {"stage": "sft", "template": "telechat2", "deepspeed": "zero3", "finetuning_type": "full"},
        "resources": {"nodes": 4, "gpusPerNode": 8, "extra": {"rdma/hca": 1}},
        "env": [
            {"name": "NCCL_DEBUG", "value": "INFO"},
            {"name": "TOKENIZERS_PARALLELISM", "value": "false"},
            {"name": "WANDB_API_KEY", "valueFrom": {"secretKeyRef": {"name": "wandb", "key": "key"}}},
        ],
        "network": {"profile": "roce"},
        "launcher": "deepspeed",
        "export": {"merge": False},
        "podTemplate": {
            "metadata": {"annotations": {"a": "b"}, "labels": {"team": "a"}},
            "spec": {
                "volumes": [{"name": "scratch", "emptyDir": {}}],
                "securityContext": {"runAsUser": 2000, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [
                    {
                        "name": "pytorch",
                        "env": [{"name": "A", "value": "1"}],
                        "securityContext": {"runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}},
                    },
                    {"name": "sidecar", "image": "logs", "command": ["tail"], "env": [{"name": "RANK", "value": "0"}]},
                ],
            },
        },
    }
    assert told(claim(RWX), **good) == []
    assert len(set(CHECKS)) == len(CHECKS)


def test_what_is_kept_by_time_is_kept_of_what_goes_by_number() -> None:
    by_time = {"keepCheckpointSeconds": 86400}
    assert told(runPolicy=by_time)[0].startswith("spec.runPolicy.keepCheckpointSeconds: has nothing to keep")
    assert told(runPolicy=by_time, training={"stage": "sft", "save_total_limit": 3}) == []


def test_a_claim_must_exist() -> None:
    assert told(claim(found=False)) == ["spec.storage.output: there is no PersistentVolumeClaim runs in team-a"]


def test_a_claim_that_was_not_observed_is_not_judged() -> None:
    assert told(Observed(), resources={"nodes": 2}) == []


@pytest.mark.parametrize("mode", [RWO, "ReadWriteOncePod"])
def test_a_claim_of_one_node_does_not_serve_two(mode: str) -> None:
    [refusal] = told(claim(mode), resources={"nodes": 2})
    assert refusal == (
        f"spec.storage.output: the claim runs is {mode} and can't serve 2 nodes; name a ReadWriteMany claim, "
        "or write spec.resources.nodes: 1"
    )
    assert told(claim(mode), resources={"nodes": 1}) == []
    assert told(claim(mode, RWX), resources={"nodes": 2}) == []


def test_data_may_be_read_only() -> None:
    spec = {"datasets": [{"name": "a", "uri": "pvc://data/a.json"}], "resources": {"nodes": 2}}
    assert told(claim(ROX, name="data"), **spec) == []
    [refusal] = told(claim(RWO, name="data"), **spec)
    assert refusal.startswith("spec.datasets[0].uri: the claim data is ReadWriteOnce and can't serve 2 nodes")
    assert "ReadWriteMany or ReadOnlyMany" in refusal


def test_the_output_must_be_writable() -> None:
    assert told(claim(ROX)) == ["spec.storage.output: the claim runs is ReadOnlyMany; name one that can be written"]


def test_several_nodes_need_a_shared_output() -> None:
    [refusal] = told(resources={"nodes": 3}, storage={})
    assert refusal.startswith(
        "spec.storage.output: 3 nodes need one folder to write to: storage: {output: {claimName:"
    )
    assert told(resources={"nodes": 1}, storage={}) == []


def test_only_an_adapter_that_stays_can_be_merged() -> None:
    merge = {"merge": True}
    lora = {"finetuning_type": "lora", "do_train": True}
    assert told(export=merge, training=lora) == []
    assert told(export={"merge": False}) == []
    [refusal] = told(export=merge, training={"finetuning_type": "full", "do_train": True})
    assert refusal.startswith("spec.export.merge: has nothing to merge: finetuning_type full writes a whole model")
    [refusal] = told(export=merge, training={**lora, "do_train": False, "do_eval": True, "val_size": 0.1})
    assert "without do_train: true no adapter is trained" in refusal
    [refusal] = told(export=merge, training=lora, storage={})
    assert refusal.startswith("spec.export.merge: needs spec.storage.output.claimName")


def test_the_template_must_be_known() -> None:
    [refusal] = told(training={"template": "telechat3"})
    assert refusal.startswith("spec.training.template: template 'telechat3' is not known; did you mean telechat,")


def test_the_deepspeed_launcher_needs_deepspeed() -> None:
    assert told(launcher="deepspeed") == [
        "spec.launcher: deepspeed needs spec.training.deepspeed, e.g. zero3; or write launcher: torchrun"
    ]


def test_the_network_profile_must_be_known() -> None:
    [refusal] = told(network={"profile": "rocev"})
    assert refusal.endswith("no network profile rocev; did you mean roce?; known: efa, infiniband, roce, tcp")
    ours = Settings(network_profiles={"ours": NetworkProfile()})
    assert told(network={"profile": "ours"}, settings=ours) == []


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (NetworkProfile(capabilities=("IPC_LOCK",)), "IPC_LOCK in a container that runs as root"),
        (NetworkProfile(privileged=True), "a privileged container that runs as root"),
    ],
    ids=["a capability", "privileged"],
)
def test_a_profile_that_takes_privilege_needs_the_owners_word(profile: NetworkProfile, words: str) -> None:
    said = {"network": {"profile": "mine"}, "resources": {"nodes": 2}}
    [refusal] = told(settings=Settings(network_profiles={"mine": profile}), **said)
    assert refusal.startswith(f"spec.network.profile: mine takes {words}, which is not allowed here")
    assert told(settings=Settings(network_profiles={"mine": profile}, allow_privileged=True), **said) == []


def test_a_resource_is_said_once() -> None:
    assert told(resources={"gpusPerNode": 1, "extra": {"nvidia.com/gpu": 2, "cpu": 3}}) == [
        "spec.resources.extra.nvidia.com/gpu: say it as spec.resources.gpusPerNode",
        "spec.resources.extra.cpu: say it as spec.resources.cpu",
    ]


def test_gpus_that_are_asked_for_are_used() -> None:
    [refusal] = told(resources={"gpusPerNode": 8}, training={"use_cpu": True})
    assert refusal.startswith("spec.training.use_cpu: leaves 8 GPUs of each node idle")
    assert told(resources={"gpusPerNode": 0}, training={"use_cpu": True}) == []


@pytest.mark.parametrize(
    ("entry", "refusal"),
    [
        ({"name": "A"}, "spec.env[0]: must have exactly one of value and valueFrom"),
        ({"name": "A", "value": "1", "valueFrom": {}}, "spec.env[0]: must have exactly one of value and valueFrom"),
        ({"value": "1"}, "spec.env[0].name: must be the name of a variable, e.g. NCCL_DEBUG"),
        ({"name": "A=B", "value": "1"}, "spec.env[0].name: must be the name of a variable, e.g. NCCL_DEBUG"),
        ({"name": "A", "value": 1}, 'spec.env[0]: value must be text; put it in quotation marks, e.g. value: "1"'),
        ({"name": "A", "val": "1"}, "spec.env[0]: unknown field val; known here: name, value, valueFrom"),
        ({"name": "A", "valueFrom": {"secretRef": {}}}, f"spec.env[0]: valueFrom must have exactly one of {SOURCES}"),
    ],
)
def test_an_entry_of_env_is_well_formed(entry: dict[str, Any], refusal: str) -> None:
    assert told(env=[entry]) == [refusal]


def test_a_variable_is_said_once() -> None:
    assert told(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]) == [
        "spec.env[1].name: A is there twice"
    ]


@pytest.mark.parametrize(
    "name", ["FINETUNE_ATTEMPT", "PET_NNODES", "MASTER_ADDR", "RANK", "LOCAL_RANK", "WORLD_SIZE", "NNODES"]
)
def test_the_launchs_variables_are_not_the_users(name: str) -> None:
    [refusal] = told(env=[{"name": name, "value": "1"}])
    assert refusal.startswith(f"spec.env[0].name: {name} is set for every rank by the launch")


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "WANDB_API_KEY", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "MY_SECRET", "hf_token"]
)
def test_a_secret_comes_by_reference_and_is_not_repeated(name: str) -> None:
    [refusal] = told(env=[{"name": name, "value": "s3cr3t"}])
    assert refusal.startswith(f"spec.env[0].value: {name} looks like a secret; write valueFrom: {{secretKeyRef:")
    assert "s3cr3t" not in refusal


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "MONKEY", "HF_TOKEN_PATH", "KEYS", "RANKING"])
def test_a_plain_name_is_no_secret(name: str) -> None:
    assert told(env=[{"name": name, "value": "1"}]) == []


HOST_PATH = {"spec": {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}}


def test_a_host_path_needs_the_owners_word() -> None:
    [refusal] = overlay(HOST_PATH)
    assert refusal == (
        "spec.podTemplate.spec.volumes[0].hostPath: hostPath is not allowed here; use a claim "
        "(the operator's owner may set allow_host_path)"
    )
    assert overlay(HOST_PATH, Settings(allow_host_path=True)) == []


def pod(**fields: Any) -> dict[str, Any]:
    return {"spec": fields}


def container(**fields: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "pytorch", **fields}]}}


PRIVILEGE = [
    (pod(hostNetwork=True), "hostNetwork"),
    (pod(hostPID=True), "hostPID"),
    (pod(hostIPC=True), "hostIPC"),
    (pod(serviceAccountName="admin"), "serviceAccountName"),
    (pod(serviceAccount="admin"), "serviceAccount"),
    (pod(automountServiceAccountToken=True), "automountServiceAccountToken"),
    (pod(volumes=[{"name": "t", "projected": {"sources": [{"serviceAccountToken": {}}]}}]), "volumes[0].projected"),
    (pod(securityContext={"runAsUser": 0}), "securityContext.runAsUser"),
    (pod(securityContext={"seccompProfile": {"type": "Unconfined"}}), "securityContext.seccompProfile"),
    (
        pod(initContainers=[{"name": "i", "securityContext": {"privileged": True}}]),
        "initContainers[0].securityContext.privileged",
    ),
    (container(securityContext={"privileged": True}), "containers[0].securityContext.privileged"),
    (
        container(securityContext={"allowPrivilegeEscalation": True}),
        "containers[0].securityContext.allowPrivilegeEscalation",
    ),
    (container(securityContext={"runAsUser": 0}), "containers[0].securityContext.runAsUser"),
    (container(securityContext={"runAsNonRoot": False}), "containers[0].securityContext.runAsNonRoot"),
    (container(securityContext={"seLinuxOptions": {"type": "spc_t"}}), "containers[0].securityContext.seLinuxOptions"),
    (container(securityContext={"procMount": "Unmasked"}), "containers[0].securityContext.procMount"),
    (container(securityContext={"capabilities": {"add": ["IPC_LOCK"]}}), "containers[0].securityContext.capabilities"),
    (container(securityContext={"capabilities": {"drop": []}}), "containers[0].securityContext.capabilities"),
    (container(ports=[{"containerPort": 1, "hostPort": 1}]), "containers[0].ports[0].hostPort"),
]


@pytest.mark.parametrize(("template", "path"), PRIVILEGE, ids=[path for _, path in PRIVILEGE])
def test_privilege_needs_the_owners_word(template: dict[str, Any], path: str) -> None:
    [refusal] = overlay(template)
    assert refusal.startswith(f"spec.podTemplate.spec.{path}: ")
    assert overlay(template, Settings(allow_privileged=True)) == []


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ({"containers": []}, "containers"),
        ({"metadata": []}, "metadata"),
        (pod(containers={}), "spec.containers"),
        (pod(containers=[{"image": "x"}]), "spec.containers"),
        (pod(volumes=["a"]), "spec.volumes"),
        (pod(containers=[{"name": "pytorch", "$patch": "delete"}]), "spec.containers[0].$patch"),
        (pod(securityContext=None), "spec.securityContext"),
        (pod(volumes=None), "spec.volumes"),
        (container(securityContext={"runAsNonRoot": None}), "spec.containers[0].securityContext.runAsNonRoot"),
        (container(env=None), "spec.containers[0].env"),
        (pod(restartPolicy="Always"), "spec.restartPolicy"),
        (pod(terminationGracePeriodSeconds=1), "spec.terminationGracePeriodSeconds"),
        (container(command=["sh"]), "spec.containers[0].command"),
        (container(readinessProbe={}), "spec.containers[0].readinessProbe"),
        (container(env=[{"name": "RANK", "value": "1"}]), "spec.containers[0].env[0].name"),
        (container(env=[{"name": "A_TOKEN", "value": "1"}]), "spec.containers[0].env[0].value"),
        ({"metadata": {"labels": {"finetune.dev/job-name": "b"}}}, "metadata.labels.finetune.dev/job-name"),
    ],
)
def test_an_overlay_leaves_ours_alone(template: dict[str, Any], path: str) -> None:
    [refusal] = overlay(template, Settings(allow_privileged=True, allow_host_path=True))
    assert refusal.startswith(f"spec.podTemplate.{path}: ")


def test_everything_is_told_at_once() -> None:
    observed = claim(RWO)
    spec = {
        "resources": {"nodes": 2},
        "network": {"profile": "ib"},
        "env": [{"name": "RANK", "value": "0"}],
        "podTemplate": HOST_PATH,
    }
    assert [line.partition(":")[0] for line in told(observed, **spec)] == [
        "spec.network.profile",
        "spec.storage.output",
        "spec.env[0].name",
        "spec.podTemplate.spec.volumes[0].hostPath",
    ]


SEVEN_B = {"model": {"uri": "ms://Qwen/Qwen2.5-7B"}, "resources": {"nodes": 1, "gpusPerNode": 8, "gpuMemory": "80Gi"}}
FULL = {
    "stage": "sft", "template": "qwen", "finetuning_type": "full", "bf16": True, "cutoff_len": 4096,
    "per_device_train_batch_size": 1,
}  # fmt: skip


def test_a_well_known_model_that_does_not_fit_is_refused_before_it_is_fetched() -> None:
    assert told(**SEVEN_B, training={**FULL, "deepspeed": "zero3"}) == []
    (said,) = told(**SEVEN_B, training=FULL)
    assert said.startswith("spec.resources.gpuMemory: 7.62 B parameters, does not fit: about 1")
    assert "of 80.0 GiB for each GPU; this fits (" in said
    assert "deepspeed: zero" in said
    assert said.endswith('finetune.dev/ignore-memory: "true" starts it all the same')


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"uri": "ms://somebody/Qwen2.5-7B"}},
        {"model": {"uri": "pvc://models/Qwen2.5-7B"}},
        {"resources": {"nodes": 1, "gpusPerNode": 8}},
    ],
    ids=["a model of another owner", "a folder", "nobody says what a GPU has"],
)
def test_what_is_not_known_at_the_door_is_left_to_the_preparation(changes: dict[str, Any]) -> None:
    assert told(claim("ReadWriteMany", name="models"), **{**SEVEN_B, "training": FULL, **changes}) == []


def test_the_owner_of_a_job_may_know_better_than_the_estimate() -> None:
    body = {
        "metadata": {"name": "job", "namespace": "team-a", "annotations": {names.ANNOTATION_IGNORE_MEMORY: "true"}}
    }
    spec = {"datasets": [{"name": "identity"}], "storage": {"output": {"claimName": "runs"}}}
    wanted = parse({**body, "spec": {**spec, **SEVEN_B, "training": FULL}})
    assert check(wanted, Observed(), STRICT) == ()


def test_a_gang_needs_a_scheduler_that_starts_gangs() -> None:
    (refusal,) = told(claim(RWX), scheduling={"gang": {}})
    assert refusal.startswith("spec.scheduling.gang: needs a gang scheduler: the training operator runs without")
    assert told(claim(RWX), Settings(gang_scheduler="scheduler-plugins"), scheduling={"gang": {}}) == []
    assert told(claim(RWX), Settings(gang_scheduler="volcano"), scheduling={"gang": {"queue": "research"}}) == []
    (refusal,) = told(claim(RWX), Settings(gang_scheduler="scheduler-plugins"), scheduling={"gang": {"queue": "a"}})
    assert refusal.startswith("spec.scheduling.gang.queue: is Volcano's")


def test_a_priority_among_the_queued_needs_a_queue() -> None:
    (refusal,) = told(claim(RWX), scheduling={"queuePriorityClassName": "production"})
    assert refusal.startswith("spec.scheduling.queuePriorityClassName: orders the jobs of a queue")
    assert told(claim(RWX), scheduling={"queue": "a", "queuePriorityClassName": "production"}) == []
