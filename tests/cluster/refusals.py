"""Manifests with one mistake each, and what `kubectl apply` says of them with and without the webhook.

docs/refusals.md is made of this (`python -m dev.refusals_table`), and test_refusals.py holds it to what is said today.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .harness import pki
from .harness.layout import HOST, Layout
from .harness.waiting import ClusterError
from .jobs import Job
from .operator_process import OperatorProcess, free_ports
from .session import Cluster

GOOD: Mapping[str, Any] = {
    "apiVersion": "finetune.dev/v1alpha1",
    "kind": "FineTuneJob",
    "metadata": {"name": "job"},
    "spec": {
        "model": {"uri": "pvc://shared/model"},
        "datasets": [{"name": "words", "uri": "pvc://shared/words.json"}],
        "training": {"stage": "sft", "template": "llama3", "cutoff_len": 128, "output_dir": "saves/job"},
        "resources": {"nodes": 2},
        "storage": {"output": {"claimName": "shared"}},
    },
}
"""Nothing is wrong with it."""
NOWHERE: Mapping[str, Any] = {"nodeSelector": {"finetune.dev/no-node-has-this": "true"}}
"""Pods that run would keep the next job of the same name waiting until they have ended."""
_WEBHOOK = "finetune-refusals"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """One mistake.

    Attributes:
        title: What somebody did.
        changes: Path -> value in GOOD; None takes it away.
        late: It is brought into a job that has started.
    """

    title: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    late: bool = False

    def manifest(self) -> dict[str, Any]:
        """GOOD with the mistake."""
        body = copy.deepcopy(dict(GOOD))
        for path, value in self.changes.items():
            part, steps = body, path.split(".")
            for step in steps[:-1]:
                part = part.setdefault(step, {})
            if value is None:
                del part[steps[-1]]
            else:
                part[steps[-1]] = value
        if self.late:
            body["spec"]["scheduling"] = NOWHERE
        return body


MISTAKES = (
    Mistake(title="A key of the training is misspelt", changes={"spec.training.lerning_rate": 1.0e-5}),
    Mistake(title="A field of the manifest is misspelt", changes={"spec.resources.gpuPerNode": 8}),
    Mistake(title="A number is a word", changes={"spec.training.cutoff_len": "long"}),
    Mistake(title="There is no such stage", changes={"spec.training.stage": "sftt"}),
    Mistake(title="There is no such launcher", changes={"spec.launcher": "mpirun"}),
    Mistake(title="No model", changes={"spec.model": None}),
    Mistake(title="The model's address has no known kind", changes={"spec.model.uri": "huggingface://org/name"}),
    Mistake(title="No nodes", changes={"spec.resources.nodes": 0}),
    Mistake(
        title="More processes than GPUs",
        changes={"spec.resources": {"nodes": 2, "gpusPerNode": 4, "processesPerNode": 8}},
    ),
    Mistake(title="A quantity's unit does not exist", changes={"spec.resources.memory": "512Gb"}),
    Mistake(
        title="Columns of a source that is not said",
        changes={"spec.datasets": [{"name": "words", "info": {"formatting": "sharegpt"}}]},
    ),
    Mistake(title="A token in the manifest", changes={"spec.training.hf_hub_token": "hf_abc"}),
    Mistake(
        title="Keys that contradict each other",
        changes={"spec.training.finetuning_type": "full", "spec.training.quantization_bit": 4},
    ),
    Mistake(
        title="A folder of the node",
        changes={"spec.podTemplate.spec.volumes": [{"name": "n", "hostPath": {"path": "/"}}]},
    ),
    Mistake(title="There is no such network profile", changes={"spec.network.profile": "rocky"}),
    Mistake(title="Several nodes, and no output that they share", changes={"spec.storage": None}),
    Mistake(
        title="One data set twice",
        changes={"spec.datasets": [{"name": "words", "uri": "pvc://shared/a.json"}, {"name": "words"}]},
    ),
    Mistake(
        title="Another learning rate in the middle of a run",
        changes={"spec.training.learning_rate": 1.0e-3},
        late=True,
    ),
)


def answers(cluster: Cluster, operator: OperatorProcess, namespace: str) -> list[dict[str, Any]]:
    """What is said of each mistake: {title, changes, without, with_webhook}."""
    layout = cluster.layout
    assert layout is not None, "the API server has to reach a webhook of this machine"
    with _webhook(cluster, layout, operator, namespace) as switch_on:
        without = {mistake.title: _said(cluster, namespace, mistake, waits=True) for mistake in MISTAKES}
        switch_on()
        return [
            {
                "title": mistake.title,
                "changes": dict(mistake.changes),
                "without": without[mistake.title],
                "with": _said(cluster, namespace, mistake, waits=False),
            }
            for mistake in MISTAKES
        ]


@contextmanager
def _webhook(
    cluster: Cluster, layout: Layout, operator: OperatorProcess, namespace: str
) -> Iterator[Callable[[], None]]:
    """An operator that answers as a webhook; the API server asks it from the call of what this gives on."""
    pki.issue(layout, pki.Identity(name="tls", user=_WEBHOOK, names=(f"IP:{HOST}",)))
    [port] = free_ports(1)
    operator.ensure({"admission_folder": str(layout.pki), "admission_port": port, "allow_host_path": False})
    try:
        yield lambda: cluster.apply(_configuration(layout, namespace, f"https://{HOST}:{port}/validate"))
    finally:
        cluster.kubectl("delete", "validatingwebhookconfiguration", _WEBHOOK, "--ignore-not-found")


def _configuration(layout: Layout, namespace: str, url: str) -> dict[str, Any]:
    authority = base64.b64encode((layout.pki / "ca.crt").read_bytes()).decode()
    rule = {"apiGroups": ["finetune.dev"], "apiVersions": ["v1alpha1"], "resources": ["finetunejobs"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": _WEBHOOK},
        "webhooks": [
            {
                "name": "validate.finetune.dev",
                "rules": [{**rule, "operations": ["CREATE", "UPDATE"]}],
                "clientConfig": {"url": url, "caBundle": authority},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }


def _said(cluster: Cluster, namespace: str, mistake: Mistake, *, waits: bool) -> str:
    """What kubectl prints; where the job is taken, what its conditions say a moment later."""
    job = Job(cluster=cluster, namespace=namespace, name=GOOD["metadata"]["name"])
    apply = ("-n", namespace, "apply", "-f", "-")
    try:
        if mistake.late:
            cluster.kubectl(*apply, stdin=json.dumps(Mistake(title="none", late=True).manifest()))
            job.until("an attempt", lambda status: status.get("attempt") == 1)
        cluster.kubectl(*apply, stdin=json.dumps(mistake.manifest()))
    except ClusterError as error:
        return str(error).partition("\n")[2]  # without the command, which names this machine's paths
    else:
        return _condition(job) if waits else "taken"
    finally:
        cluster.kubectl("-n", namespace, "delete", "ftj", job.name, "--ignore-not-found")


def _condition(job: Job) -> str:
    def refused() -> str | None:
        accepted = job.condition("Accepted")
        return accepted["message"] if accepted.get("status") == "False" else None

    return f"taken; then Accepted is False: {job.cluster.wait('a word about the mistake', refused)}"
