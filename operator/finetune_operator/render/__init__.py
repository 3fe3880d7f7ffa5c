"""Pure: RunPlan, PreparePlan and SideJobPlan -> manifests, in the order in which they are applied.

Law: the only room that writes `apiVersion` or a container. It decides nothing, knows nothing of the cluster, and puts
no secret's value anywhere: secrets are named, and the kubelet looks them up.
"""

from finetune_operator.plan import PreparePlan, RunPlan, SideJobPlan
from finetune_operator.render import configmap, export, prepare, pytorchjob
from finetune_operator.render.metadata import Manifest
from finetune_operator.render.overlay import OverlayInvalid
from finetune_operator.render.text import documents

__all__ = ["Manifest", "OverlayInvalid", "children", "documents", "exportation", "preparation"]


def children(plan: RunPlan) -> tuple[Manifest, ...]:
    """The children of one attempt: what was frozen (if it is to be), the attempt's hostfile, and the PyTorchJob.

    Raises:
        OverlayInvalid: spec.podTemplate can't be merged into the pods' template.
    """
    frozen = (configmap.frozen(plan),) if plan.freeze else ()
    return (*frozen, configmap.of_attempt(plan), pytorchjob.of(plan))


def preparation(plan: PreparePlan) -> tuple[Manifest, ...]:
    """The children that come before attempt 1: what is to be prepared, and the Job.

    Raises:
        OverlayInvalid: spec.podTemplate can't be merged into the pod's template.
    """
    return (prepare.files(plan), prepare.job(plan))


def exportation(plan: SideJobPlan) -> tuple[Manifest, ...]:
    """What comes after the last attempt: the Job.

    Raises:
        OverlayInvalid: spec.podTemplate can't be merged into the pod's template.
    """
    return (export.job(plan),)
