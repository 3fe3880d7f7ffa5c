"""podTemplate, field by field: each is decided, and what would take more than the namespace gives is refused."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes import client

from finetune_operator import render
from finetune_operator.checks import check, pod_fields
from finetune_operator.observe import Observed
from finetune_operator.plan import run_plan
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob, SpecInvalid, parse

ALLOWED = Settings(allow_host_path=True, allow_privileged=True)


def job(template: dict[str, Any] | None = None, **spec: Any) -> FineTuneJob:
    small = {
        "model": {"uri": "hf://HuggingFaceTB/SmolLM2-135M-Instruct"},
        "datasets": [{"name": "identity"}],
        "training": {"stage": "sft"},
        "storage": {"output": {"claimName": "runs"}},
        "podTemplate": template or {},
    }
    return parse({"metadata": {"name": "job", "namespace": "team-a"}, "spec": small | spec})


def told(template: dict[str, Any] | None = None, settings: Settings | None = None, **spec: Any) -> list[str]:
    return [str(one) for one in check(job(template, **spec), Observed(), settings or Settings())]


def pod(**fields: Any) -> dict[str, Any]:
    return {"spec": fields}


def volume(**source: Any) -> dict[str, Any]:
    return pod(volumes=[{"name": "v", **source}])


def fields(model: type) -> set[str]:
    return set(model.attribute_map.values())  # type: ignore[attr-defined]  # generated


def test_every_field_that_kubernetes_knows_is_decided_once() -> None:
    assert fields(client.V1PodSpec) == pod_fields.USERS_IN_POD | pod_fields.OURS_IN_POD.keys()
    assert not pod_fields.USERS_IN_POD & pod_fields.OURS_IN_POD.keys()
    assert fields(client.V1Container) == pod_fields.USERS_IN_CONTAINER | pod_fields.OURS_IN_CONTAINER.keys()
    assert fields(client.V1Volume) == {"name"} | pod_fields.USERS_VOLUMES | pod_fields.HOSTS_VOLUMES
    assert fields(client.V1VolumeProjection) == pod_fields.USERS_PROJECTIONS | pod_fields.IDENTITIES
    assert fields(client.V1PodSecurityContext) == pod_fields.POD_CONTEXT
    assert fields(client.V1SecurityContext) == pod_fields.CONTAINER_CONTEXT


@pytest.mark.parametrize("field", sorted(pod_fields.OURS_IN_POD))
def test_what_is_ours_is_nobody_elses_whatever_the_owner_allows(field: str) -> None:
    assert told(pod(**{field: "x"}), ALLOWED) == [f"spec.podTemplate.spec.{field}: {pod_fields.OURS_IN_POD[field]}"]


@pytest.mark.parametrize("source", sorted(pod_fields.HOSTS_VOLUMES))
def test_a_volume_of_the_hosts_needs_the_owners_word(source: str) -> None:
    [refusal] = told(volume(**{source: {"path": "/"}}))
    assert refusal.startswith(f"spec.podTemplate.spec.volumes[0].{source}: {source} is not allowed here; use a claim")
    assert told(volume(**{source: {"path": "/"}}), Settings(allow_host_path=True)) == []


@pytest.mark.parametrize("source", sorted(pod_fields.USERS_VOLUMES - {"projected"}))
def test_a_volume_of_the_namespace_is_the_users(source: str) -> None:
    assert told(volume(**{source: {}})) == []


@pytest.mark.parametrize("source", sorted(pod_fields.IDENTITIES))
def test_an_identity_needs_the_owners_word_also_beside_a_harmless_source(source: str) -> None:
    template = volume(projected={"sources": [{"configMap": {"name": "a"}}, {source: {}}]})
    [refusal] = told(template)
    assert refusal.startswith(f"spec.podTemplate.spec.volumes[0].projected: an identity of the pod ({source})")
    assert told(template, ALLOWED) == []


CONTAINERS: list[tuple[dict[str, Any], str]] = [
    ({"securityContext": {"privileged": True}}, "securityContext.privileged"),
    ({"securityContext": {"allowPrivilegeEscalation": True}}, "securityContext.allowPrivilegeEscalation"),
    ({"securityContext": {"runAsUser": 0}}, "securityContext.runAsUser"),
    ({"securityContext": {"runAsNonRoot": False}}, "securityContext.runAsNonRoot"),
    ({"securityContext": {"procMount": "Unmasked"}}, "securityContext.procMount"),
    ({"securityContext": {"seLinuxOptions": {"type": "spc_t"}}}, "securityContext.seLinuxOptions"),
    ({"securityContext": {"windowsOptions": {"hostProcess": True}}}, "securityContext.windowsOptions"),
    ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "securityContext.seccompProfile"),
    ({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}, "securityContext.appArmorProfile"),
    ({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}, "securityContext.capabilities"),
    ({"securityContext": {"capabilities": {"drop": ["NET_RAW"]}}}, "securityContext.capabilities"),
    ({"ports": [{"containerPort": 1, "hostPort": 22}]}, "ports[0].hostPort"),
    ({"volumeMounts": [{"mountPath": "/a", "mountPropagation": "Bidirectional"}]}, "volumeMounts[0].mountPropagation"),
    ({"livenessProbe": {"httpGet": {"host": "169.254.169.254"}}}, "livenessProbe.httpGet.host"),
    ({"startupProbe": {"tcpSocket": {"host": "10.0.0.1"}}}, "startupProbe.tcpSocket.host"),
    ({"lifecycle": {"preStop": {"httpGet": {"host": "10.0.0.1"}}}}, "lifecycle.preStop.httpGet.host"),
]


@pytest.mark.parametrize("kind", ["containers", "initContainers"])
@pytest.mark.parametrize("name", ["pytorch", "sidecar"])
@pytest.mark.parametrize(("said", "path"), CONTAINERS, ids=[path for _, path in CONTAINERS])
def test_a_containers_privilege_needs_the_owners_word(said: dict[str, Any], path: str, name: str, kind: str) -> None:
    template = pod(**{kind: [{"name": name, **said}]})
    [refusal] = told(template)
    assert refusal.startswith(f"spec.podTemplate.spec.{kind}[0].{path}: ")
    assert "the operator's owner may set allow_privileged" in refusal
    assert told(template, ALLOWED) == []


PODS: list[tuple[dict[str, Any], str]] = [
    (pod(hostNetwork=True), "spec.hostNetwork"),
    (pod(hostPID=True), "spec.hostPID"),
    (pod(hostIPC="true"), "spec.hostIPC"),
    (pod(serviceAccountName="admin"), "spec.serviceAccountName"),
    (pod(serviceAccount="admin"), "spec.serviceAccount"),
    (pod(automountServiceAccountToken=True), "spec.automountServiceAccountToken"),
    (pod(securityContext={"runAsUser": 0}), "spec.securityContext.runAsUser"),
    (pod(securityContext={"runAsNonRoot": False}), "spec.securityContext.runAsNonRoot"),
    (pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}), "spec.securityContext.sysctls[0]"),
    (pod(securityContext={"seccompProfile": {"type": "Unconfined"}}), "spec.securityContext.seccompProfile"),
    (pod(securityContext={"windowsOptions": {"hostProcess": True}}), "spec.securityContext.windowsOptions"),
    *(
        ({"metadata": {"annotations": {key: "unconfined"}}}, f"metadata.annotations.{key}")
        for key in (
            "container.apparmor.security.beta.kubernetes.io/pytorch",
            "seccomp.security.alpha.kubernetes.io/pod",
            "cdi.k8s.io/all",
            "io.kubernetes.cri-o.Devices",
            "io.katacontainers.config.hypervisor.path",
            "devices.nri.io/container.pytorch",
        )
    ),
]


@pytest.mark.parametrize(("template", "path"), PODS, ids=[path for _, path in PODS])
def test_a_pods_privilege_needs_the_owners_word(template: dict[str, Any], path: str) -> None:
    [refusal] = told(template)
    assert refusal.startswith(f"spec.podTemplate.{path}: ")
    assert told(template, ALLOWED) == []


GOOD: list[dict[str, Any]] = [
    pod(hostNetwork=False, hostUsers=False, automountServiceAccountToken=False),
    pod(securityContext={"sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "1024 65535"}]}),
    pod(securityContext={"runAsUser": 2000, "supplementalGroups": [3000], "seccompProfile": {"type": "Localhost"}}),
    pod(runtimeClassName="nvidia", schedulerName="volcano", priorityClassName="low", tolerations=[{"key": "gpu"}]),
    pod(containers=[{"name": "log", "image": "log", "livenessProbe": {"httpGet": {"port": 80, "path": "/"}}}]),
    pod(containers=[{"name": "log", "securityContext": {"readOnlyRootFilesystem": True, "privileged": False}}]),
    {"metadata": {"annotations": {"k8s.v1.cni.cncf.io/networks": "fabric"}, "labels": {"team": "a"}}},
]


@pytest.mark.parametrize("template", GOOD, ids=range(len(GOOD)))
def test_what_a_namespace_gives_to_everybody_is_the_users(template: dict[str, Any]) -> None:
    assert told(template) == []


UNKNOWN: list[tuple[dict[str, Any], str]] = [
    (pod(hostNetworks=True), "spec.hostNetworks: unknown field; did you mean hostNetwork?"),
    (pod(newIn2030={}), "spec.newIn2030: unknown field"),
    (pod(securityContext={"privileged": True}), "spec.securityContext.privileged: unknown field"),
    (pod(containers=[{"name": "a", "devices": []}]), "spec.containers[0].devices: unknown field"),
    (volume(hostpath={"path": "/"}), "spec.volumes[0].hostpath: unknown field; did you mean hostPath?"),
    (volume(projected={"sources": [{"token": {}}]}), "spec.volumes[0].projected.token: unknown field"),
    ({"metadata": {"finalizers": ["a/b"]}}, "metadata.finalizers: unknown field"),
    ({"metadata": {"ownerReferences": []}}, "metadata.ownerReferences: unknown field"),
    ({"metadata": {"annotations": {"finetune.dev/job": "b"}}}, "metadata.annotations.finetune.dev/job: belongs to"),
]


@pytest.mark.parametrize(("template", "words"), UNKNOWN, ids=[words.partition(":")[0] for _, words in UNKNOWN])
def test_a_field_that_nobody_has_thought_about_is_refused(template: dict[str, Any], words: str) -> None:
    [refusal] = told(template, ALLOWED)
    assert refusal.startswith(f"spec.podTemplate.{words}")


SECRET, CONFIG = {"secretKeyRef": {"name": "other/s", "key": "k"}}, {"configMapRef": {"name": "../other"}}
ELSEWHERE: list[tuple[dict[str, Any], str]] = [
    ({"env": [{"name": "A", "valueFrom": SECRET}]}, "spec.env[0].valueFrom.secretKeyRef.name"),
    (
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "namespace": "other", "key": "k"}}}]},
        "spec.env[0].valueFrom.secretKeyRef.namespace",
    ),
    *(
        ({"podTemplate": template}, f"spec.podTemplate.spec.{path}")
        for template, path in (
            (volume(secret={"secretName": "other/s"}), "volumes[0].secret.secretName"),
            (volume(configMap={"name": "other/c"}), "volumes[0].configMap.name"),
            (volume(persistentVolumeClaim={"claimName": "../a"}), "volumes[0].persistentVolumeClaim.claimName"),
            (
                volume(projected={"sources": [{"secret": {"name": "other/s"}}]}),
                "volumes[0].projected.sources[0].secret.name",
            ),
            (
                volume(
                    ephemeral={"volumeClaimTemplate": {"spec": {"dataSourceRef": {"name": "a", "namespace": "b"}}}}
                ),
                "volumes[0].ephemeral.volumeClaimTemplate.spec.dataSourceRef.namespace",
            ),
            (pod(containers=[{"name": "a", "envFrom": [CONFIG]}]), "containers[0].envFrom[0].configMapRef.name"),
        )
    ),
]


@pytest.mark.parametrize(("spec", "path"), ELSEWHERE, ids=[path for _, path in ELSEWHERE])
def test_nothing_of_another_namespace_can_be_named(spec: dict[str, Any], path: str) -> None:
    template = spec.pop("podTemplate", None)
    [refusal] = told(template, ALLOWED, **spec)
    assert refusal.startswith(f"{path}: ")
    assert refusal.endswith("a job uses what is in its own namespace, team-a")


@pytest.mark.parametrize("name", ["other/claim", "../../other/persistentvolumeclaims/theirs", "..", "Runs"])
@pytest.mark.parametrize(
    ("field", "path"),
    [
        (lambda name: {"storage": {"output": {"claimName": name}}}, "spec.storage.output.claimName"),
        (lambda name: {"storage": {"cache": {"claimName": name}}}, "spec.storage.cache.claimName"),
        (lambda name: {"model": {"uri": "hf://a/b", "secretRef": {"name": name}}}, "spec.model.secretRef.name"),
        (lambda name: {"image": {"pullSecrets": [{"name": name}]}}, "spec.image.pullSecrets[0].name"),
    ],
    ids=["output", "cache", "model's Secret", "pull Secret"],
)
def test_a_claim_or_secret_of_another_namespace_is_refused_before_anything_is_asked(
    field: Any, path: str, name: str
) -> None:
    with pytest.raises(SpecInvalid) as caught:
        job(**field(name))
    [refusal] = map(str, caught.value.violations)
    assert refusal == f"{path}: must be the name of an object of the job's own namespace, e.g. runs, not {name}"


def test_a_container_beside_the_trainer_is_as_restricted_as_it_is() -> None:
    template = pod(
        containers=[{"name": "log", "image": "log"}],
        initContainers=[{"name": "setup", "image": "a", "securityContext": {"readOnlyRootFilesystem": True}}],
    )
    pytorchjob = render.children(run_plan(job(template), 1, Settings()))[-1]
    spec = pytorchjob["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    found = {one["name"]: one["securityContext"] for one in (*spec["initContainers"], *spec["containers"])}
    assert found["log"] == found["pytorch"] == found["fetch"] == restricted
    assert found["setup"] == {**restricted, "readOnlyRootFilesystem": True}


@pytest.mark.parametrize("context", [{"privileged": True}, {"capabilities": {"add": ["SYS_PTRACE"]}}])
def test_what_the_owner_allowed_is_rendered_as_it_was_said(context: dict[str, Any]) -> None:
    template = pod(containers=[{"name": "log", "image": "log", "securityContext": context}])
    assert told(template, ALLOWED) == []
    pytorchjob = render.children(run_plan(job(template), 1, ALLOWED))[-1]
    containers = pytorchjob["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]["containers"]
    assert next(one for one in containers if one["name"] == "log")["securityContext"] == context
