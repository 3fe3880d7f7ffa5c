"""A node that no machine stands behind, and a kubelet that plays its pods: they run, fail or succeed by a script.

The pods are the training operator's, bound by the real scheduler; what a trainer would do is told in the termination
message that it would leave. So a job of two attempts lives for seconds, and needs no Python in a pod.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from kubernetes import client, config

from finetune_operator import names
from finetune_trainer.records import Outcome

from .session import Cluster

NODE = "played"
TAINT = {"key": "finetune.dev/played", "value": "yes", "effect": "NoSchedule"}
SCHEDULING = {
    "nodeSelector": {"kubernetes.io/hostname": NODE},
    "tolerations": [{"key": TAINT["key"], "operator": "Exists"}],
}
"""Of a job whose pods are to be played."""
STEP = 0.1
BEAT = 3.0
"""Seconds between two signs of life; the controller manager gives a node up after 10 s."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """What a job's pods do."""

    failing: frozenset[int] = frozenset({1})
    """Attempts of which the worker fails; all others succeed."""
    life: float = 1.5
    """Seconds from a pod's start to its end."""
    grace: float = 0.5
    """Seconds from a pod's deletion until it is gone."""


class PlayedPods:
    """A context manager: the node is there, and the pods of one namespace are played, inside.

    Attributes:
        script: what they do from now on.
    """

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        make: Any = config.new_client_from_config  # generated, half typed
        api = make(str(cluster.kubectl.kubeconfig))
        self._core: Any = client.CoreV1Api(api)  # its types know no plain mappings
        self._leases: Any = client.CoordinationV1Api(api)
        self._cluster, self._namespace = cluster, namespace
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._every, args=one) for one in self._duties()]
        self._since: dict[tuple[str, str], float] = {}
        self.script = Script()

    def __enter__(self) -> Self:
        """Return when the node takes pods."""
        self._cluster.kubectl("delete", "node", NODE, "--ignore-not-found")  # of a session that was killed
        self._core.create_node(_node())
        self._core.patch_node_status(NODE, {"status": _status()})
        for thread in self._threads:
            thread.start()
        self._cluster.wait("the played node", lambda: self._is_open() or None)
        return self

    def __exit__(self, *_: object) -> None:
        """The node goes."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._core.delete_node(NODE)

    def _duties(self) -> tuple[tuple[Callable[[], None], float], ...]:
        return (self._beat, BEAT), (self._play, STEP)

    def _every(self, duty: Callable[[], None], seconds: float) -> None:
        while not self._stop.wait(seconds):
            try:
                duty()
            except (client.ApiException, OSError):
                continue  # a pod that has gone meanwhile

    def _is_open(self) -> bool:
        taints = self._core.read_node(NODE).spec.taints or []
        return [taint.key for taint in taints] == [TAINT["key"]]

    def _beat(self) -> None:
        lease = {"metadata": {"name": NODE}, "spec": {"holderIdentity": NODE, "renewTime": _now()}}
        try:
            self._leases.patch_namespaced_lease(NODE, "kube-node-lease", lease)
        except client.ApiException:
            self._leases.create_namespaced_lease("kube-node-lease", lease)

    def _play(self) -> None:
        answer = self._core.list_namespaced_pod(
            self._namespace, label_selector=f"{names.LABEL_ROLE}={names.ROLE_TRAIN}", _preload_content=False
        )
        for pod in json.loads(answer.data)["items"]:
            if pod["spec"].get("nodeName") == NODE:
                self._turn(pod)

    def _turn(self, pod: dict[str, Any]) -> None:
        """The next thing that happens to a pod, if it is time."""
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        phase = pod["status"].get("phase")
        if "deletionTimestamp" in pod["metadata"]:
            if self._lasted(uid, "going") >= self.script.grace:
                self._core.delete_namespaced_pod(name, self._namespace, grace_period_seconds=0)
        elif phase == "Pending":
            self._tell(pod, "Running", {"running": {"startedAt": _now()}})
        elif phase == "Running" and self._lasted(uid, "running") >= self.script.life:
            self._end(pod)

    def _lasted(self, uid: str, what: str) -> float:
        return time.monotonic() - self._since.setdefault((uid, what), time.monotonic())

    def _end(self, pod: dict[str, Any]) -> None:
        """As its attempt's script says; the master of a failing attempt waits for its peer."""
        labels = pod["metadata"]["labels"]
        is_master = labels[names.TRAINING_TYPE_LABEL] == "master"
        if int(labels[names.LABEL_ATTEMPT]) not in self.script.failing:
            self._tell(pod, "Succeeded", _ended(0, "Completed", self._outcome(labels, is_master, "succeeded")))
        elif not is_master:
            self._tell(pod, "Failed", _ended(1, "Error", self._outcome(labels, is_master, "failed")))

    def _outcome(self, labels: Mapping[str, str], is_master: bool, result: Any) -> str:
        frozen = self._core.read_namespaced_config_map(names.config_name(labels[names.LABEL_JOB]), self._namespace)
        outcome = Outcome(
            result=result,
            reason="Crashed" if result == "failed" else "Succeeded",
            message="rank 1 was ended by a script" if result == "failed" else "trained",
            retryable=True,
            attempt=int(labels[names.LABEL_ATTEMPT]),
            node_rank=0 if is_master else 1,
            spec_hash=frozen.metadata.annotations[names.ANNOTATION_SPEC_HASH],
        )
        return outcome.to_termination_message()

    def _tell(self, pod: Mapping[str, Any], phase: str, state: Mapping[str, Any]) -> None:
        container = next(one for one in pod["spec"]["containers"] if one["name"] == names.CONTAINER)
        told = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": phase == "Running",
            "restartCount": 0,
            "state": state,
        }
        body = {"status": {"phase": phase, "containerStatuses": [told]}}
        self._core.patch_namespaced_pod_status(pod["metadata"]["name"], self._namespace, body)


def _ended(code: int, reason: str, message: str) -> dict[str, Any]:
    ended = {"exitCode": code, "reason": reason, "message": message, "startedAt": _now(), "finishedAt": _now()}
    return {"terminated": ended}


def _node() -> dict[str, Any]:
    labels = {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}
    return {"metadata": {"name": NODE, "labels": labels}, "spec": {"taints": [TAINT]}}


def _status() -> dict[str, Any]:
    amounts = {"pods": "110", "cpu": "64", "memory": "256Gi", "ephemeral-storage": "100Gi"}
    ready = {"type": "Ready", "status": "True", "reason": "Played", "lastHeartbeatTime": _now()}
    return {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
