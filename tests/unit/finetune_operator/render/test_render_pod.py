"""The pods: no rights, the right resources, the folders and variables of the contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from finetune_operator import plan, render
from finetune_operator.network_profiles import NetworkProfile
from finetune_operator.render import Manifest
from finetune_operator.settings import Settings

Build = Callable[..., Manifest]
INTAKE = Settings(intake_url="http://intake:8090")


def env(container: Manifest) -> dict[str, Any]:
    names = [entry["name"] for entry in container["env"]]
    assert len(names) == len(set(names)), "the API server refuses a variable that stands twice"
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


def mounts(container: Manifest) -> dict[str, Manifest]:
    return {mount["mountPath"]: mount for mount in container["volumeMounts"]}


def test_the_pod_is_restricted(pod: Build) -> None:
    spec = pod()["spec"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"} & set(spec)


def test_the_container_can_gain_nothing(trainer: Build) -> None:
    assert trainer()["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_without_fs_group_the_volumes_are_left_alone(pod: Build) -> None:
    security = pod(storage={"output": {"claimName": "runs"}, "fsGroup": None})["spec"]["securityContext"]
    assert not {"fsGroup", "fsGroupChangePolicy"} & set(security)


def test_another_user_is_the_operators_choice(pod: Build) -> None:
    assert pod(settings=Settings(run_as_user=2000))["spec"]["securityContext"]["runAsUser"] == 2000


def test_the_training_operators_webhook_finds_what_it_wants(trainer: Build) -> None:
    container = trainer()
    assert container["name"] == "pytorch"
    assert container["command"] == ["finetune", "supervise"]
    assert container["ports"] == [{"name": "pytorchjob-port", "containerPort": 23456, "protocol": "TCP"}]
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_requests_equal_limits(trainer: Build) -> None:
    said = {"gpusPerNode": 8, "gpuResource": "amd.com/gpu", "cpu": "64", "memory": "1Ti", "extra": {"rdma/hca": "1"}}
    resources = trainer(resources=said)["resources"]
    assert resources["limits"] == {"cpu": "64", "memory": "1Ti", "rdma/hca": "1", "amd.com/gpu": "8"}
    assert resources["requests"] == resources["limits"]


def test_cpu_runs_ask_for_no_gpu(trainer: Build) -> None:
    assert "resources" not in trainer()
    assert trainer(resources={"memory": "4Gi"})["resources"]["limits"] == {"memory": "4Gi"}


@pytest.mark.parametrize(
    ("cpu", "processes", "threads"), [("64", 8, "8"), ("2", 4, "1"), ("7500m", 2, "3"), ("1.5", 1, "1")]
)
def test_threads_are_the_ranks_share_of_the_cpus(trainer: Build, cpu: str, processes: int, threads: str) -> None:
    assert env(trainer(resources={"cpu": cpu, "processesPerNode": processes}))["OMP_NUM_THREADS"] == threads


def test_gpu_settings_only_with_gpus(trainer: Build) -> None:
    assert "PYTORCH_CUDA_ALLOC_CONF" not in env(trainer())
    assert "OMP_NUM_THREADS" not in env(trainer())
    assert env(trainer(resources={"gpusPerNode": 1}))["PYTORCH_CUDA_ALLOC_CONF"] == "expandable_segments:True"


def test_the_user_wins_over_the_profile_and_the_profile_over_us(trainer: Build) -> None:
    profile = NetworkProfile(env={"NCCL_DEBUG": "WARN", "NCCL_IB_HCA": "mlx5", "TORCH_NCCL_ASYNC_ERROR_HANDLING": "3"})
    found = env(
        trainer(
            settings=Settings(network_profiles={"roce": profile}),
            network={"profile": "roce"},
            resources={"nodes": 2},
            env=[{"name": "NCCL_DEBUG", "value": "INFO"}],
        )
    )
    assert (found["NCCL_DEBUG"], found["NCCL_IB_HCA"], found["TORCH_NCCL_ASYNC_ERROR_HANDLING"]) == (
        "INFO",
        "mlx5",
        "3",
    )


def test_a_users_variable_stands_after_those_that_it_may_quote(trainer: Build) -> None:
    said = [{"name": "ROOT", "value": "/data"}, {"name": "HOME", "value": "$(ROOT)/home"}]
    names = [entry["name"] for entry in trainer(env=said)["env"]]
    assert names.index("ROOT") < names.index("HOME")


def test_profile_annotations_reach_the_pods(pod: Build) -> None:
    profile = NetworkProfile(annotations={"k8s.v1.cni.cncf.io/networks": "rdma"})
    said = {"settings": Settings(network_profiles={"roce": profile}), "network": {"profile": "roce"}}
    annotations = pod(**said, resources={"nodes": 2})["metadata"]["annotations"]
    assert annotations["k8s.v1.cni.cncf.io/networks"] == "rdma"
    assert "k8s.v1.cni.cncf.io/networks" not in pod(**said)["metadata"]["annotations"], "one node: no network"


def test_a_profiles_resources_are_asked_for_and_the_job_may_ask_for_more(trainer: Build) -> None:
    profile = NetworkProfile(resources={"rdma/hca": "1", "hugepages-2Mi": "5Gi"})
    settings = Settings(network_profiles={"mine": profile})
    resources = {"nodes": 2, "extra": {"rdma/hca": 4}}
    limits = trainer(settings=settings, network={"profile": "mine"}, resources=resources)["resources"]["limits"]
    assert (limits["rdma/hca"], limits["hugepages-2Mi"]) == ("4", "5Gi")


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (NetworkProfile(), {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}),
        (
            NetworkProfile(capabilities=("IPC_LOCK",)),
            {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"], "add": ["IPC_LOCK"]},
                "runAsUser": 0,
                "runAsGroup": 0,
                "runAsNonRoot": False,
            },
        ),
        (
            NetworkProfile(privileged=True),
            {"privileged": True, "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False},
        ),
    ],
    ids=["none", "IPC_LOCK", "privileged"],
)
def test_the_containers_rights_are_those_of_the_profile(
    trainer: Build, profile: NetworkProfile, expected: dict[str, Any]
) -> None:
    settings = Settings(network_profiles={"mine": profile})
    found = trainer(settings=settings, network={"profile": "mine"}, resources={"nodes": 2})
    assert found["securityContext"] == expected


def test_the_hostfile_lies_where_deepspeed_looks_for_it(trainer: Build) -> None:
    [mount] = [one for one in trainer()["volumeMounts"] if one["mountPath"] == "/job/hostfile"]
    assert (mount["name"], mount["subPath"], mount["readOnly"]) == ("config", "hostfile", True)


def test_secrets_are_named_never_copied(trainer: Build) -> None:
    reference = {"secretKeyRef": {"name": "wandb", "key": "key"}}
    container = trainer(
        env=[{"name": "WANDB_API_KEY", "valueFrom": reference}],
        model={"uri": "hf://org/model", "secretRef": {"name": "hf-token"}},
    )
    assert env(container)["WANDB_API_KEY"] == reference
    assert container["envFrom"] == [{"secretRef": {"name": "hf-token"}}]


def test_contract_folders(pod: Build, trainer: Build) -> None:
    container = trainer()
    found = env(container)
    assert (found["FINETUNE_CONFIG_DIR"], found["FINETUNE_RUN_DIR"], found["FINETUNE_ATTEMPT"]) == (
        "/etc/finetune", "/run/finetune", "1",
    )  # fmt: skip
    assert mounts(container)["/etc/finetune"]["readOnly"] is True
    volumes = {one["name"]: one for one in pod()["spec"]["volumes"]}
    sources = volumes["config"]["projected"]["sources"]
    assert [source["configMap"]["name"] for source in sources] == ["tuned-config", "tuned-1"]
    assert volumes["run"] == {"name": "run", "emptyDir": {}}
    assert mounts(container)["/tmp"]["name"] == "tmp"


def test_shared_memory(pod: Build) -> None:
    def dshm(**storage: Any) -> Any:
        spec = pod(storage={"output": {"claimName": "runs"}, **storage})["spec"]
        return next(one for one in spec["volumes"] if one["name"] == "dshm")["emptyDir"]

    assert dshm() == {"medium": "Memory"}
    assert dshm(sharedMemory="64Gi") == {"medium": "Memory", "sizeLimit": "64Gi"}


def test_what_the_intake_is_known_by_goes_with_the_attempt(
    planned: Callable[..., plan.RunPlan],
) -> None:
    plan_of = planned(settings=Settings(intake_url="https://intake", intake_ca="-----A-----"))
    frozen, attempt, pytorchjob = render.children(plan_of)
    assert attempt["data"]["intake-ca.crt"] == "-----A-----\n"
    assert "intake-ca.crt" not in frozen["data"], "it may change, and what is frozen may not"
    (trains,) = pytorchjob["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]["containers"]
    assert env(trains)["FINETUNE_PROGRESS_CA_FILE"] == "/etc/finetune/intake-ca.crt"
    without = render.children(planned(settings=Settings(intake_ca="-----A-----")))
    assert "-----A-----" not in str(without)


def test_a_token_only_where_progress_is_posted(pod: Build, trainer: Build) -> None:
    assert "FINETUNE_PROGRESS_TOKEN_FILE" not in env(trainer())
    container = trainer(settings=INTAKE)
    path = env(container)["FINETUNE_PROGRESS_TOKEN_FILE"]
    mount = mounts(container)[path.rpartition("/")[0]]
    volume = next(one for one in pod(settings=INTAKE)["spec"]["volumes"] if one["name"] == mount["name"])
    (source,) = volume["projected"]["sources"]
    assert source["serviceAccountToken"] == {
        "audience": "finetune.dev/intake/team-a/tuned", "expirationSeconds": 3600, "path": path.rpartition("/")[2],
    }  # fmt: skip
    assert mount["readOnly"] is True


def test_each_claim_is_one_volume_however_often_it_is_mounted(pod: Build, trainer: Build) -> None:
    said = {
        "model": {"uri": "pvc://shared/model"},
        "datasets": [{"name": "a", "uri": "pvc://shared/a.json"}, {"name": "b", "uri": "pvc://data/b.json"}],
        "storage": {"output": {"claimName": "runs", "subPath": "team"}, "cache": {"claimName": "shared"}},
    }
    volumes = {one["name"]: one for one in pod(**said)["spec"]["volumes"]}
    claims = [one["persistentVolumeClaim"]["claimName"] for one in volumes.values() if "persistentVolumeClaim" in one]
    assert sorted(claims) == ["data", "runs", "shared"]
    found = mounts(trainer(**said))
    assert found["/output"]["subPath"] == "team"
    assert {mount["name"] for mount in found.values()} == set(volumes)


def test_hub_cache_lies_in_the_cache_claim(trainer: Build) -> None:
    assert "HF_HOME" not in env(trainer())
    cached = {"output": {"claimName": "runs"}, "cache": {"claimName": "hub"}}
    container = trainer(storage=cached)
    assert env(container)["HF_HOME"] == "/models/huggingface"
    assert "readOnly" not in mounts(container)["/models"]


def test_without_an_output_claim_the_folder_goes_with_the_pod(pod: Build, trainer: Build) -> None:
    volume = mounts(trainer(storage={}))["/output"]["name"]
    assert {"name": volume, "emptyDir": {}} in pod(storage={})["spec"]["volumes"]


def test_scheduling(pod: Build) -> None:
    scheduling = {
        "priorityClassName": "batch",
        "nodeSelector": {"gpu": "a100"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
    }
    image = {"pullPolicy": "Always", "pullSecrets": [{"name": "registry"}]}
    spec = pod(scheduling=scheduling, image=image, runPolicy={"terminationGracePeriodSeconds": 90})["spec"]
    assert {key: spec[key] for key in scheduling} == scheduling
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["containers"][0]["imagePullPolicy"] == "Always"
    assert spec["terminationGracePeriodSeconds"] == 90


def test_the_pods_of_an_attempt_are_spread_over_nodes_where_there_are_enough(pod: Build) -> None:
    [constraint] = pod(resources={"nodes": 2})["spec"]["topologySpreadConstraints"]
    assert (constraint["topologyKey"], constraint["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    assert "finetune.dev/attempt" in constraint["labelSelector"]["matchLabels"]
    assert "topologySpreadConstraints" not in pod()["spec"]
    together = {"spec": {"topologySpreadConstraints": []}}
    assert not pod(resources={"nodes": 2}, podTemplate=together)["spec"].get("topologySpreadConstraints")


def test_what_is_not_said_is_not_rendered(pod: Build) -> None:
    assert not {"nodeSelector", "tolerations", "priorityClassName", "imagePullSecrets", "affinity"} & set(
        pod()["spec"]
    )


def test_the_overlay_adds_labels_but_can_not_take_ours(pod: Build) -> None:
    said = {"metadata": {"labels": {"team": "a", "finetune.dev/attempt": "9", "finetune.dev/job-name": None}}}
    labels = pod(podTemplate=said)["metadata"]["labels"]
    assert labels["team"] == "a"
    assert (labels["finetune.dev/attempt"], labels["finetune.dev/job-name"]) == ("1", "tuned")
