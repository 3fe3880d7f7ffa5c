"""The pods' template: one container, no rights, the user's overlay last."""

from __future__ import annotations

from finetune_operator import names
from finetune_operator.plan import RunPlan
from finetune_operator.render import avoidance, environment, metadata, overlay, volumes
from finetune_operator.render.metadata import Manifest

COMMAND = ("finetune", "supervise")


def template(plan: RunPlan) -> Manifest:
    """The template of Master and Workers alike.

    Raises:
        OverlayInvalid: spec.podTemplate can't be merged.
    """
    labels = metadata.of_attempt(plan, names.ROLE_TRAIN)
    ours = {
        "metadata": {
            "labels": labels,
            "annotations": {names.ANNOTATION_JOB: plan.job.name, **plan.network_annotations},
        },
        "spec": _spec(plan),
    }
    merged = overlay.merge(ours, plan.job.spec.pod_template, keep=names.CONTAINER)
    # By these labels the pods are found again: the overlay may add to them only.
    merged["metadata"]["labels"] = {**merged["metadata"].get("labels", {}), **labels}
    merged["spec"] = avoidance.avoiding(merged["spec"], plan.avoided_nodes)
    return merged


def _spec(plan: RunPlan) -> Manifest:
    folders = volumes.of(plan)
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _security(plan),
        "terminationGracePeriodSeconds": plan.job.spec.run_policy.termination_grace_period_seconds,
        **_scheduling(plan),
        "containers": [_container(plan, folders.mounts)],
        "volumes": list(folders.volumes),
    }


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


def _scheduling(plan: RunPlan) -> Manifest:
    scheduling = plan.job.spec.scheduling
    said: Manifest = {
        "nodeSelector": dict(scheduling.node_selector),
        "tolerations": [dict(toleration) for toleration in scheduling.tolerations],
        "priorityClassName": scheduling.priority_class_name,
        "imagePullSecrets": [{"name": secret.name} for secret in plan.job.spec.image.pull_secrets],
    }
    return {key: value for key, value in said.items() if value}


def _container(plan: RunPlan, mounts: tuple[Manifest, ...]) -> Manifest:
    optional: Manifest = {"envFrom": environment.sources(plan), "resources": _resources(plan)}
    return {
        "name": names.CONTAINER,
        "image": plan.image,
        "imagePullPolicy": plan.job.spec.image.pull_policy,
        "command": list(COMMAND),
        "ports": [{"name": "pytorchjob-port", "containerPort": names.MASTER_PORT, "protocol": "TCP"}],
        "env": environment.of(plan),
        **{key: value for key, value in optional.items() if value},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": list(mounts),
    }


def _resources(plan: RunPlan) -> Manifest:
    """Requests equal to limits: training takes what it asks for, all the time."""
    said = plan.job.spec.resources
    amounts = {"cpu": said.cpu, "memory": said.memory, **said.extra}
    if said.gpus_per_node > 0:
        amounts[said.gpu_resource] = str(said.gpus_per_node)
    asked = {name: amount for name, amount in amounts.items() if amount is not None}
    return {"requests": asked, "limits": dict(asked)} if asked else {}
