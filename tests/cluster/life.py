"""The whole life of a job whose pods no node takes: a test tells what their kubelets would tell."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finetune_trainer.records import Exported, Outcome, Preparation, Progress, to_kubeflow

from . import simulated
from .jobs import Job
from .session import Cluster

NOWHERE = {"finetune.dev/test": "no-node-has-this-label"}
QUICK = {"cpu": "1m", "memory": "1Mi", "nodeSelector": NOWHERE}


def manifest(name: str, **spec: Any) -> dict[str, Any]:
    """A job of one node that is prepared, trained and exported; its claim is `runs`."""
    return {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": name},
        "spec": {
            "model": {"uri": "hf://org/model"},
            "datasets": [{"name": "identity"}],
            "training": {"stage": "sft", "do_train": True, "finetuning_type": "lora", "template": "default"},
            "storage": {"output": {"claimName": "runs"}, "cache": {"claimName": "runs"}},
            "scheduling": {"nodeSelector": NOWHERE},
            "prepare": QUICK,
            "export": {"merge": True, **QUICK},
            **spec,
        },
    }


def trains_at_once(name: str) -> dict[str, Any]:
    """A job that has nothing to prepare or to export."""
    made = manifest(name, model={"uri": "/models/in-the-image"})
    del made["spec"]["export"]
    return made


def make_claim(cluster: Cluster, namespace: str, claim: str = "runs") -> None:
    """A claim that no volume will ever serve: enough for pods that never start."""
    spec = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}
    wanted = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim}, "spec": spec}
    cluster.apply(wanted, namespace)


@dataclass(frozen=True, kw_only=True, slots=True)
class Life:
    """One job, led from one state to the next."""

    job: Job
    intake_url: str

    def whole(self) -> None:
        """Prepared, stopped in it, prepared anew, killed, suspended, trained, exported, deleted."""
        self.pod("prepare")
        self.suspend()
        self.prepare()
        self.run(1)
        assert post(self.intake_url, self.job, self.token(self.pod("train"))) == 200
        self.job.until("progress", lambda status: status.get("progress", {}).get("step") == 7)
        self.end(1, "failed")
        self.run(2)
        self.suspend()
        self.run(3)
        self.end(3, "succeeded")
        self.export()
        self.job.until_state("Succeeded")
        self.delete()

    def suspend(self) -> None:
        """And let it go on."""
        self.job.patch({"runPolicy": {"suspend": True}})
        self.job.until_state("Suspended")
        self.job.cluster.wait("its children to go", lambda: not self._running() or None)
        self.job.patch({"runPolicy": {"suspend": False}})

    def prepare(self) -> None:
        """The pod that prepares finds the model."""
        found = Preparation(result="succeeded", reason="Prepared", message="", retryable=False, model="/models/m")
        self._ended(self.pod("prepare"), found.to_termination_message())

    def run(self, attempt: int) -> None:
        """An attempt's pod is started."""
        self.job.until(f"attempt {attempt}", lambda status: status.get("attempt") == attempt)
        simulated.run_pod(self.job.cluster, self.job.namespace, self.pod("train", attempt))
        self.job.until("its ranks", lambda s: (s.get("attempt"), s.get("state")) == (attempt, "Running"))

    def end(self, attempt: int, result: Any) -> None:
        """An attempt's pod ends so."""
        config = self.job.cluster.get("configmap", f"{self.job.name}-config", self.job.namespace)
        assert config is not None
        record = Outcome(
            result=result,
            reason="Succeeded" if result == "succeeded" else "CudaError",
            message="",
            retryable=True,
            attempt=attempt,
            node_rank=0,
            spec_hash=config["metadata"]["annotations"]["finetune.dev/spec-hash"],
        )
        self._ended(self.pod("train", attempt), record.to_termination_message(), 0 if result == "succeeded" else 1)

    def export(self) -> None:
        """The pod that exports has done it."""
        found = Exported(result="succeeded", reason="Exported", message="", retryable=False, folder="/output/merged")
        self._ended(self.pod("export"), found.to_termination_message())

    def delete(self) -> None:
        """The job goes, and all that it owns."""
        cluster, namespace, name = self.job.cluster, self.job.namespace, self.job.name
        cluster.kubectl("-n", namespace, "delete", "ftj", name, "--timeout=60s")
        cluster.wait("nothing to remain", lambda: not self._children() or None)

    def pod(self, role: str, attempt: int | None = None) -> dict[str, Any]:
        """The pod of this role that lives."""
        selector = f"finetune.dev/job-name={self.job.name},finetune.dev/role={role}"
        selector += f",finetune.dev/attempt={attempt}" if attempt is not None else ""

        def look() -> dict[str, Any] | None:
            found = self.job.cluster.list("pods", self.job.namespace, selector)
            return next((one for one in found if "deletionTimestamp" not in one["metadata"]), None)

        return self.job.cluster.wait(f"a pod to {role}", look)

    def token(self, pod: Mapping[str, Any], audience: str | None = None) -> str:
        """What the kubelet would put into the pod; for the audience of another job, as any pod may ask for."""
        about = pod["metadata"]
        bound = (
            "--bound-object-kind=Pod",
            f"--bound-object-name={about['name']}",
            f"--bound-object-uid={about['uid']}",
        )
        wanted = audience or f"finetune.dev/intake/{self.job.namespace}/{self.job.name}"
        kubectl = self.job.cluster.kubectl
        return kubectl("-n", self.job.namespace, "create", "token", "default", f"--audience={wanted}", *bound)

    def _ended(self, pod: Mapping[str, Any], message: str, exit_code: int = 0) -> None:
        simulated.end_pod(self.job.cluster, self.job.namespace, pod, message, exit_code=exit_code)

    def _running(self) -> list[str]:
        """Pods that could still do something."""
        selector = ("-l", f"finetune.dev/job-name={self.job.name}", "--field-selector=status.phase!=Succeeded")
        return self.job.cluster.kubectl("-n", self.job.namespace, "get", "pods", *selector, "-o", "name").split()

    def _children(self) -> list[str]:
        kinds = "jobs,pytorchjobs,pods,services,configmaps"
        names = self.job.cluster.kubectl("-n", self.job.namespace, "get", kinds, "-o", "name").split()
        return [name for name in names if self.job.name in name]


def post(url: str, job: Job, token: str | None, body: bytes | None = None, path: str | None = None) -> int:
    """Post progress about a job; the answer's status."""
    news = Progress(time=1.8e9, phase="training", step=7, total_steps=20)
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    where = f"{url}{path or f'/v1/namespaces/{job.namespace}/jobs/{job.name}/progress'}"
    data = json.dumps(to_kubeflow(news)).encode() if body is None else body
    request = urllib.request.Request(where, data, {**headers, "Content-Type": "application/json"}, method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
