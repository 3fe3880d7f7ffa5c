"""The PyTorchJob of one attempt (kubeflow.org/v1, training operator 1.9)."""

from __future__ import annotations

from finetune_operator import names
from finetune_operator.plan import RunPlan
from finetune_operator.render import metadata, pod
from finetune_operator.render.metadata import Manifest


def of(plan: RunPlan) -> Manifest:
    """Master and Workers from one template; no deadline, TTL or backoff limit: we keep those ourselves."""
    labels = metadata.of_attempt(plan, names.ROLE_TRAIN)
    if plan.job.spec.scheduling.queue is not None:
        labels[names.LABEL_QUEUE] = plan.job.spec.scheduling.queue
    return {
        "apiVersion": names.PYTORCHJOB_API_VERSION,
        "kind": "PyTorchJob",
        "metadata": metadata.child(plan, plan.name, labels),
        "spec": {
            # As an integer's text: only then does the training operator compute WORLD_SIZE right.
            "nprocPerNode": str(plan.run.processes_per_node),
            "runPolicy": _run_policy(plan),
            "pytorchReplicaSpecs": _replicas(plan),
        },
    }


def _run_policy(plan: RunPlan) -> Manifest:
    """`suspend` only when a queue is to admit the job: afterwards the field is the queue's."""
    policy: Manifest = {"cleanPodPolicy": plan.job.spec.run_policy.clean_pods}
    return {**policy, "suspend": True} if plan.suspended else policy


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
