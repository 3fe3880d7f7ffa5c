"""The configuration folder: one ConfigMap frozen at attempt 1, and one for each attempt with the names of its pods."""

from __future__ import annotations

import dataclasses

from finetune_operator import names
from finetune_operator.plan import RunPlan
from finetune_operator.render import metadata
from finetune_operator.render.metadata import Manifest
from finetune_operator.render.text import json_text, yaml_text
from finetune_trainer.records import DATASET_INFO_FILE, DEEPSPEED_FILE, HOSTFILE, INTAKE_CA_FILE, RUN_FILE, TRAIN_FILE


def frozen(plan: RunPlan) -> Manifest:
    """What no later attempt and no newer operator may change: train.yaml, ds.json, dataset_info.json, run.json."""
    annotations = {
        names.ANNOTATION_SPEC_HASH: plan.job.spec_hash,
        names.ANNOTATION_CONTRACT: str(plan.run.contract),
        names.ANNOTATION_IMAGE: plan.image,
        names.ANNOTATION_NODES: str(plan.run.nodes),
    }
    labels = metadata.of_job(plan, names.ROLE_CONFIG)
    return of(metadata.child(plan, plan.config_name, labels, annotations), files(plan), fixed=True)


def files(plan: RunPlan) -> dict[str, str]:
    """Name -> text of what all attempts read."""
    data = {TRAIN_FILE: yaml_text(plan.train), RUN_FILE: json_text(dataclasses.asdict(plan.run))}
    if plan.deepspeed is not None:
        data[DEEPSPEED_FILE] = json_text(plan.deepspeed)
    if plan.dataset_info is not None:
        data[DATASET_INFO_FILE] = json_text(plan.dataset_info)
    return data


def of_attempt(plan: RunPlan) -> Manifest:
    """The hostfile, and what the intake is known by: both may change with every attempt.

    Not immutable: a pass that was cut off before the PyTorchJob applies it once more, perhaps with a new certificate.
    """
    labels = metadata.of_attempt(plan, names.ROLE_CONFIG)
    return of(metadata.child(plan, plan.name, labels), {HOSTFILE: hostfile(plan), **authority(plan)})


def authority(plan: RunPlan) -> dict[str, str]:
    """The file by which the pods know the intake; none where it speaks HTTP, or their image knows it."""
    return {INTAKE_CA_FILE: f"{plan.intake_ca.strip()}\n"} if plan.intake_ca is not None else {}


def hostfile(plan: RunPlan) -> str:
    """DeepSpeed's hostfile: `<pod's DNS name> slots=<processes>`, one line for each node, by node rank."""
    hosts = (names.pod_name(plan.name, rank) for rank in range(plan.run.nodes))
    return "".join(f"{host} slots={plan.run.processes_per_node}\n" for host in hosts)


def of(meta: Manifest, data: dict[str, str], *, fixed: bool = False) -> Manifest:
    """A ConfigMap; one that is fixed can never be changed."""
    immutable = {"immutable": True} if fixed else {}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, **immutable, "data": data}
