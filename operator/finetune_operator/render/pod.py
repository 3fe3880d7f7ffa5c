"""The pods' template: one container, no rights, the user's overlay last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finetune_operator import names
from finetune_operator.plan import OWN_MODEL, RunPlan
from finetune_operator.render import avoidance, confinement, environment, metadata, overlay, volumes
from finetune_operator.render.metadata import Manifest

COMMAND = ("finetune", "supervise")


def template(plan: RunPlan) -> Manifest:
    """The template of Master and Workers alike.

    Raises:
        OverlayInvalid: spec.podTemplate can't be merged.
    """
    return of(
        plan,
        metadata.of_attempt(plan, names.ROLE_TRAIN),
        command=COMMAND,
        grace_seconds=plan.job.spec.run_policy.termination_grace_period_seconds,
        resources=_resources(plan),
        node_selector=plan.job.spec.scheduling.node_selector,
        patch=plan.job.spec.pod_template,
    )


def of(  # noqa: PLR0913 - what differs between a rank's pod and one that prepares
    plan: RunPlan,
    labels: Mapping[str, str],
    *,
    command: Sequence[str],
    grace_seconds: int,
    resources: Manifest,
    node_selector: Mapping[str, str],
    patch: Mapping[str, Any],
    restart_policy: str | None = None,
) -> Manifest:
    """A pod with the trainer's container, and `patch` on it: the user's overlay.

    Raises:
        OverlayInvalid: spec.podTemplate can't be merged.
    """
    ours = {
        "metadata": {
            "labels": dict(labels),
            "annotations": {names.ANNOTATION_JOB: plan.job.name, **plan.network.annotations},
        },
        "spec": {
            **({"restartPolicy": restart_policy} if restart_policy else {}),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": _security(plan),
            "terminationGracePeriodSeconds": grace_seconds,
            **_scheduling(plan, node_selector),
            **_apart(plan, labels),
            **_containers(plan, command, resources),
        },
    }
    merged = overlay.merge(ours, patch, keep=names.CONTAINER)
    # By these labels the pods are found again: the overlay may add to them only.
    merged["metadata"]["labels"] = {**merged["metadata"].get("labels", {}), **labels}
    merged["spec"] = confinement.confined(avoidance.avoiding(merged["spec"], plan.avoided_nodes))
    return merged


def _security(plan: RunPlan) -> Manifest:
    """As the `restricted` pod security standard asks; for the training operator's init container too."""
    group = plan.job.spec.storage.fs_group
    owned = {} if group is None else {"fsGroup": group, "fsGroupChangePolicy": "OnRootMismatch"}
    return {
        "runAsNonRoot": True,
        "runAsUser": plan.run_as_user,
        "runAsGroup": plan.run_as_user,
        **owned,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _scheduling(plan: RunPlan, node_selector: Mapping[str, str]) -> Manifest:
    scheduling = plan.job.spec.scheduling
    said: Manifest = {
        "nodeSelector": dict(node_selector),
        "tolerations": [dict(toleration) for toleration in scheduling.tolerations],
        "priorityClassName": scheduling.priority_class_name,
        "imagePullSecrets": [{"name": secret.name} for secret in plan.job.spec.image.pull_secrets],
    }
    return {key: value for key, value in said.items() if value}


def _apart(plan: RunPlan, labels: Mapping[str, str]) -> Manifest:
    """A node for each pod of an attempt, where there are as many: small jobs would be put on one as gladly."""
    if plan.attempt == 0 or plan.run.nodes == 1:
        return {}
    one_each = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ours = {name: labels[name] for name in (names.LABEL_JOB, names.LABEL_ATTEMPT)}
    return {"topologySpreadConstraints": [{**one_each, "labelSelector": {"matchLabels": ours}}]}


def _containers(plan: RunPlan, command: Sequence[str], resources: Manifest) -> Manifest:
    folders = volumes.of(plan)
    ours = _container(plan, folders.mounts, command, resources)
    own = {"initContainers": [_fetching(ours, plan.fetch, plan)]} if plan.fetch is not None else {}
    return {**own, "containers": [ours], "volumes": list(folders.volumes)}


def _fetching(ours: Manifest, source: str, plan: RunPlan) -> Manifest:
    """The same container fetches the model first: there is no cache to share with other pods."""
    link = f"{plan.paths.cache}/{OWN_MODEL}"
    without = ("ports", "resources", "terminationMessagePolicy")
    kept = {key: value for key, value in ours.items() if key not in without}
    command = ["finetune", "fetch", source, "--cache", plan.paths.cache, "--link", link]
    return {**kept, "name": "fetch", "command": command, "terminationMessagePolicy": "FallbackToLogsOnError"}


def _container(plan: RunPlan, mounts: tuple[Manifest, ...], command: Sequence[str], resources: Manifest) -> Manifest:
    optional: Manifest = {"envFrom": environment.sources(plan), "resources": resources}
    return {
        "name": names.CONTAINER,
        "image": plan.image,
        "imagePullPolicy": plan.job.spec.image.pull_policy,
        "command": list(command),
        "ports": [{"name": "pytorchjob-port", "containerPort": names.MASTER_PORT, "protocol": "TCP"}],
        "env": environment.of(plan),
        **{key: value for key, value in optional.items() if value},
        "securityContext": _container_security(plan),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": list(mounts),
    }


def _container_security(plan: RunPlan) -> Manifest:
    """Nothing; or what a network profile that names itself privileged adds, as root: others have no use of it."""
    root = {"runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False}
    if plan.network.privileged:
        return {"privileged": True, **root}
    ours: Manifest = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    if not plan.network.capabilities:
        return ours
    return {**ours, "capabilities": {"drop": ["ALL"], "add": list(plan.network.capabilities)}, **root}


def _resources(plan: RunPlan) -> Manifest:
    """Requests equal to limits: training takes what it asks for, all the time."""
    said = plan.job.spec.resources
    amounts = {"cpu": said.cpu, "memory": said.memory, **plan.network.resources, **said.extra}
    if said.gpus_per_node > 0:
        amounts[said.gpu_resource] = str(said.gpus_per_node)
    asked = {name: amount for name, amount in amounts.items() if amount is not None}
    return {"requests": asked, "limits": dict(asked)} if asked else {}
