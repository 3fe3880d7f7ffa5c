"""The PyTorchJob of one attempt (kubeflow.org/v1, training operator 1.9)."""

from __future__ import annotations

from finetune_operator import names
from finetune_operator.plan import RunPlan
from finetune_operator.render import metadata, pod
from finetune_operator.render.metadata import Manifest


def of(plan: RunPlan) -> Manifest:
    """Master and Workers from one template; no deadline, TTL or backoff limit: we keep those ourselves."""
    return {
        "apiVersion": names.PYTORCHJOB_API_VERSION,
        "kind": "PyTorchJob",
        "metadata": metadata.child(plan, plan.name, _labels(plan)),
        "spec": {
            # As an integer's text: only then does the training operator compute WORLD_SIZE right.
            "nprocPerNode": str(plan.run.processes_per_node),
            "runPolicy": _run_policy(plan),
            "pytorchReplicaSpecs": _replicas(plan),
        },
    }


def _labels(plan: RunPlan) -> dict[str, str]:
    """Ours, and those by which Kueue takes the PyTorchJob into a queue."""
    scheduling = plan.job.spec.scheduling
    queue = {names.LABEL_QUEUE: scheduling.queue, names.LABEL_QUEUE_PRIORITY: scheduling.queue_priority_class_name}
    said = {label: value for label, value in queue.items() if value is not None}
    return {**metadata.of_attempt(plan, names.ROLE_TRAIN), **said}


def _run_policy(plan: RunPlan) -> Manifest:
    """`suspend` only when a queue is to admit the job: afterwards the field is the queue's."""
    policy: Manifest = {"cleanPodPolicy": plan.job.spec.run_policy.clean_pods, **_gang(plan)}
    return {**policy, "suspend": True} if plan.suspended else policy


def _gang(plan: RunPlan) -> Manifest:
    """The training operator makes a PodGroup of it, with what its pods ask for; fewer pods than all are of no use."""
    scheduling = plan.job.spec.scheduling
    if scheduling.gang is None:
        return {}
    optional = {"queue": scheduling.gang.queue, "priorityClass": scheduling.priority_class_name}
    said = {key: value for key, value in optional.items() if value is not None}
    return {"schedulingPolicy": {"minAvailable": plan.run.nodes, **said}}


def _replicas(plan: RunPlan) -> Manifest:
    """The webhook wants Master's replicas said, and refuses a Worker with 0."""
    template = pod.template(plan)
    replicas = {"Master": _replica(1, template)}
    if plan.run.nodes > 1:
        replicas["Worker"] = _replica(plan.run.nodes - 1, template)
    return replicas


def _replica(replicas: int, template: Manifest) -> Manifest:
    """Never restarted by itself: ranks start together or not at all."""
    return {"replicas": replicas, "restartPolicy": "Never", "template": template}
