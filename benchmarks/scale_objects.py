"""What is created by the thousand: FineTuneJobs, the bare PyTorchJobs that they lead to, and jobs that have ended."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.cluster import jobs
from tests.cluster.harness import kwok

from finetune_operator import plan, render, spec, status
from finetune_operator.observe import Observed
from finetune_operator.settings import Settings

Raw = dict[str, Any]
TRAINING = {**jobs.TRAINING, "model_name_or_path": "/models/tiny", "dataset": "identity"}
"""The model and the data are in the image: nothing is prepared, and no claim is asked for."""


def finetunejob(name: str, *, nodes: int = 1, claim: str | None = None) -> Raw:
    """A job; several nodes share the claim for what they write, and have no GPUs: their data need no preparation."""
    manifest = jobs.tiny(name, training=TRAINING)
    for key in ("model", "datasets", "storage", "podTemplate"):
        del manifest["spec"][key]
    manifest["spec"]["resources"] = {"nodes": nodes, "gpusPerNode": 8 if nodes == 1 else 0, "memory": "3Gi"}
    if claim is not None:
        manifest["spec"]["storage"] = {"output": {"claimName": claim}}
    manifest["spec"]["scheduling"] = dict(kwok.PLACE)
    return manifest


def children(name: str, namespace: str) -> tuple[Raw, ...]:
    """What the operator makes of such a job, in the order in which it does."""
    job = spec.parse(_created(finetunejob(name), namespace))
    planned = plan.make(job, Observed(), Settings(), datetime.now(UTC))
    assert planned.run is not None
    return tuple(dict(manifest) for manifest in render.children(planned.run))


def pytorchjob(name: str, namespace: str) -> Raw:
    """The PyTorchJob of such a job, without an owner and without our labels: the training operator's alone."""
    spec_of_it = copy.deepcopy(children(name, namespace)[-1]["spec"])
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": metadata, "spec": spec_of_it}


def ended(name: str, namespace: str) -> tuple[Raw, Raw]:
    """(a FineTuneJob, the status of its success), as the operator would leave it."""
    body = _created(finetunejob(name), namespace)
    now = datetime.now(UTC)
    record = spec.AttemptRecord(
        number=1,
        reason="Succeeded",
        message="trained 120 steps",
        counted=False,
        started=now - timedelta(hours=2),
        finished=now,
        step=120,
        checkpoint_step=120,
    )
    body["status"] = {"observedGeneration": 1, "attempts": [spec.attempt_to_status(record)], "attempt": 1}
    job = spec.parse(body)
    planned = plan.make(job, Observed(), Settings(), now)
    return finetunejob(name), status.of(job, planned, Observed(), now)


def many(count: int, prefix: str = "job") -> Iterator[str]:
    """Names."""
    return (f"{prefix}-{number}" for number in range(count))


def _created(manifest: Mapping[str, Any], namespace: str) -> Raw:
    """As the API server would hold it."""
    metadata = {**manifest["metadata"], "namespace": namespace, "uid": f"uid-{manifest['metadata']['name']}"}
    return {**manifest, "metadata": {**metadata, "generation": 1}}
