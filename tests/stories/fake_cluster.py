"""A cluster of plain dicts: the API server's part of our protocol, and what of the training operator matters.

Changes of the world (`run`, `fail`, `vanish` ...) are methods too, so that a story reads as a list of what happened.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from finetune_operator import names
from finetune_operator.cluster import ClusterError, Speaker
from finetune_operator.cluster.view import trimmed
from finetune_operator.names import Key
from finetune_operator.observe import RawChildren
from finetune_trainer.records import EXIT_AGAIN, EXIT_LASTING, Outcome, Report

Raw = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeCluster:
    """Objects by (kind, namespace, name); see `finetune_operator.cluster.Cluster` for the methods of the protocol."""

    def __init__(self) -> None:
        self.now = START
        self.objects: dict[tuple[str, str, str], Raw] = {}
        self.events: list[tuple[str, str]] = []
        """(reason, message) of those that were taken."""
        self.told: list[tuple[str, str]] = []
        """(job, name) of all that were told, also of those that were told before."""
        self.log: list[str] = []
        """What was asked of the cluster, one line for every write, in order."""
        self.refuses_pods = ""
        """What a quota says to the training operator's pods."""
        self.tokens: dict[str, Speaker] = {}
        self.audiences: dict[str, str] = {}
        """Of tokens that are not for whatever is asked."""
        self.grace = False
        """Deleted pods stay, terminating, until `finish_terminating`."""
        self.pending: list[Raw] = []
        """Places in queues, as Kueue's own API server tells them."""
        self.kueue_trouble = ""
        """Why Workloads can't be read."""
        self.troubles: list[tuple[str, ClusterError]] = []
        """(start of a log line, error): the next write whose line starts so fails."""
        self.unseen: set[str] = set()
        """Kinds that the watches have not shown yet: a read that is not live lacks them."""
        self.live_reads = 0
        self._numbers = itertools.count(1)

    # The protocol.

    async def job(self, key: Key) -> Raw | None:
        return self._read(names.KIND, key.namespace, key.name)

    async def jobs(self) -> list[tuple[Key, str]]:
        return [
            (Key(namespace, name), raw["metadata"]["resourceVersion"])
            for (kind, namespace, name), raw in self.objects.items()
            if kind == names.KIND
        ]

    async def children(self, key: Key, claims: Iterable[str], *, live: bool = False) -> RawChildren:
        label = names.base_name(key.name)
        shown = {kind for kind in ("ConfigMap", "Job", "PyTorchJob", "Pod") if live or kind not in self.unseen}
        found = {
            kind: self._labelled(kind, key.namespace, label) if kind in shown else ()
            for kind in ("ConfigMap", "Job", "PyTorchJob", "Pod")
        }
        self.live_reads += live
        uids = {raw["metadata"]["uid"] for raw in found["PyTorchJob"]}
        queued = any(names.LABEL_QUEUE in raw["metadata"]["labels"] for raw in found["PyTorchJob"])
        if not live:  # as the view keeps them
            found = {kind: tuple(trimmed(kind, raw) for raw in raws) for kind, raws in found.items()}
        return RawChildren(
            workloads=self._workloads(uids),
            pending=tuple(self.pending),
            kueue_trouble=self.kueue_trouble if queued else "",
            configmaps=tuple({"metadata": raw["metadata"]} for raw in found["ConfigMap"]),
            jobs=found["Job"],
            pytorchjobs=found["PyTorchJob"],
            pods=found["Pod"],
            claims={claim: self._read("PersistentVolumeClaim", key.namespace, claim) for claim in claims},
            live=live,
        )

    async def apply(self, manifest: Raw) -> None:
        kind, metadata = manifest["kind"], manifest["metadata"]
        self._write(f"apply {kind} {metadata['name']}")
        self.put(manifest)
        self.training_operator()

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str | None = None) -> None:
        self._write(f"delete {kind} {name}")
        known = self.objects.get((kind, namespace, name))
        if known is not None and uid in {None, known["metadata"]["uid"]}:
            self.remove(kind, name, namespace)
        self.training_operator()

    async def write_status(self, key: Key, status: Raw, resource_version: str | None = None) -> None:
        self._write(f"status {key.name} {status.get('state', '')}".rstrip())
        job = self.objects[names.KIND, key.namespace, key.name]
        if resource_version not in {None, job["metadata"]["resourceVersion"]}:
            raise ClusterError("the object has been modified")
        job["status"] = copy.deepcopy(status)
        self._stamp(job)

    async def warning(self, namespace: str, uid: str, reason: str) -> str:
        jobs = [raw["metadata"]["uid"] for (kind, _, _), raw in self.objects.items() if kind == "PyTorchJob"]
        return self.refuses_pods if uid in jobs and reason == "FailedCreatePod" else ""

    async def event(
        self,
        job: Raw,
        reason: str,
        message: str,
        type: Literal["Normal", "Warning"] = "Normal",  # noqa: A002 - the protocol
        *,
        once: str,
    ) -> None:
        key = Key(job["metadata"]["namespace"], job["metadata"]["name"])
        self.told.append((str(key), once))
        if self.told.count((str(key), once)) == 1:
            self.events.append((reason, message))

    async def review(self, token: str, audience: str) -> Speaker | None:
        speaker = self.tokens.get(token)
        return speaker if self.audiences.get(token, audience) == audience else None

    # What happens in the world.

    def put(self, manifest: Raw) -> Raw:
        """Create or merge an object, as a user or a server-side apply does."""
        metadata = manifest["metadata"]
        place = (manifest["kind"], metadata["namespace"], metadata["name"])
        known = self.objects.get(place)
        if known is None:
            fresh = copy.deepcopy(manifest)
            fresh["metadata"].update(uid=f"uid-{next(self._numbers)}", creationTimestamp=self.stamp(), generation=1)
            self.objects[place] = fresh
        elif known.get("spec") != manifest.get("spec"):
            known["spec"] = copy.deepcopy(manifest.get("spec"))
            known["metadata"]["generation"] += 1
        self._stamp(self.objects[place])
        return self.objects[place]

    def remove(self, kind: str, name: str, namespace: str = "default") -> None:
        """Delete an object and what it owns; pods take their time if there is `grace`."""
        raw = self.objects.get((kind, namespace, name))
        if raw is None:
            return
        if kind == "Pod" and self.grace:
            grace = timedelta(seconds=raw["spec"]["terminationGracePeriodSeconds"])
            raw["metadata"].setdefault("deletionTimestamp", _text(self.now + grace))
            return
        del self.objects[kind, namespace, name]
        for owned_kind, owned_namespace, owned_name in self._owned(raw["metadata"]["uid"]):
            self.remove(owned_kind, owned_name, owned_namespace)

    def finish_terminating(self) -> None:
        """The kubelets report that the terminating pods are gone."""
        for place in [place for place, raw in self.objects.items() if "deletionTimestamp" in raw["metadata"]]:
            del self.objects[place]
        self.training_operator()

    def run(self, *pods: str) -> None:
        """The named pods run; without a name, all that wait."""
        for raw in self._pods(pods, lambda raw: raw["status"]["phase"] == "Pending"):
            self._phase(raw, "Running", {"running": {"startedAt": self.stamp()}})
        self.training_operator()

    def wait(self, pod: str, reason: str, message: str = "") -> None:
        """A container of the pod can't start."""
        self._phase(self.pod(pod), "Pending", {"waiting": {"reason": reason, "message": message}})

    def end(self, pod: str, outcome: Outcome | None = None, *, exit_code: int = 0, reason: str = "Completed") -> None:
        """The trainer's container of the pod ends, with the supervisor's record where there is one."""
        raw = self.pod(pod)
        started = raw["status"].get("containerStatuses", [{}])[0].get("state", {}).get("running", {}).get("startedAt")
        ended = {"exitCode": exit_code, "reason": reason, "startedAt": started, "finishedAt": self.stamp()}
        if outcome is not None:
            ended["message"] = outcome.to_termination_message()
        self._phase(raw, "Succeeded" if exit_code == 0 else "Failed", {"terminated": ended})
        self.training_operator()

    def vanish(self, pod: str) -> None:
        """Somebody deleted the pod, or its node went: the training operator makes a fresh one at once."""
        del self.objects["Pod", "default", pod]
        self.training_operator()

    def disrupt(self, pod: str, reason: str, message: str) -> None:
        """The cluster is about to take the pod."""
        condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
        self.pod(pod)["status"].setdefault("conditions", []).append(condition)

    def suspend_pytorchjob(self, name: str, suspend: bool) -> None:
        """A queue evicts or admits the PyTorchJob."""
        raw = self.objects["PyTorchJob", "default", name]
        raw["spec"].setdefault("runPolicy", {})["suspend"] = suspend
        self.training_operator()

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.now += timedelta(seconds=seconds)

    def pod(self, name: str) -> Raw:
        """A pod of the default namespace."""
        return self.objects["Pod", "default", name]

    def named(self, kind: str) -> list[str]:
        """Names of all objects of a kind, in order of creation."""
        return [name for object_kind, _, name in self.objects if object_kind == kind]

    def stamp(self) -> str:
        """Now, as Kubernetes writes it."""
        return _text(self.now)

    def end_job(self, found: Report, name: str) -> None:
        """The Job's pod ends, and with it the Job, unless another pod may do better."""
        job = self.objects["Job", "default", name]
        pod = f"{name}-{next(self._numbers)}"
        metadata = {
            "name": pod,
            "namespace": "default",
            "labels": dict(job["spec"]["template"]["metadata"]["labels"]),
            "ownerReferences": [{"uid": job["metadata"]["uid"]}],
        }
        self.put({"kind": "Pod", "metadata": metadata, "spec": {}, "status": {}})
        code = 0 if found.result == "succeeded" else EXIT_AGAIN if found.retryable else EXIT_LASTING
        ended = {"exitCode": code, "reason": "Completed", "message": found.to_termination_message()}
        self._phase(self.pod(pod), "Failed" if code else "Succeeded", {"terminated": ended})
        status = job.setdefault("status", {})
        status["failed"] = status.get("failed", 0) + bool(code)
        if not found.retryable:
            status["conditions"] = [{"type": "Failed" if code else "Complete", "status": "True"}]

    # The training operator: what of it our plan must live with.

    def training_operator(self) -> None:
        """A missing pod is created again, whatever restartPolicy says; the first failed replica ends the job."""
        for raw in [raw for (kind, _, _), raw in self.objects.items() if kind == "PyTorchJob"]:
            if self._condition(raw, "Succeeded") or self._condition(raw, "Failed"):
                continue
            if raw["spec"].get("runPolicy", {}).get("suspend"):
                self._suspended(raw)
            else:
                self._reconciled(raw)

    def _suspended(self, raw: Raw) -> None:
        raw["status"] = {"conditions": [{"type": "Suspended", "status": "True"}]}
        for kind, namespace, name in self._owned(raw["metadata"]["uid"]):
            if kind == "Pod":
                self.remove(kind, name, namespace)

    def _reconciled(self, raw: Raw) -> None:
        status = raw.setdefault("status", {})
        status.setdefault("startTime", self.stamp())
        pods = [] if self.refuses_pods else [self._replica(raw, kind, index) for kind, index in _replicas(raw)]
        phases = [pod["status"]["phase"] for pod in pods]
        true = ["Created"]
        true += ["Running"] if phases and all(phase == "Running" for phase in phases) else []
        true += ["Succeeded"] if phases and phases[0] == "Succeeded" else []
        true += ["Failed"] if "Failed" in phases and "Succeeded" not in true else []
        status["conditions"] = [{"type": kind, "status": "True", "message": f"is {kind}"} for kind in true]

    def _replica(self, job: Raw, kind: str, index: int) -> Raw:
        metadata, template = job["metadata"], job["spec"]["pytorchReplicaSpecs"][kind]["template"]
        name = f"{metadata['name']}-{kind.lower()}-{index}"
        known = self.objects.get(("Pod", metadata["namespace"], name))
        if known is not None:
            return known
        labels = {
            **template.get("metadata", {}).get("labels", {}),
            names.TRAINING_JOB_LABEL: metadata["name"],
            names.TRAINING_TYPE_LABEL: kind.lower(),
            names.TRAINING_INDEX_LABEL: str(index),
        }
        owner = {"kind": "PyTorchJob", "name": metadata["name"], "uid": metadata["uid"], "controller": True}
        return self.put(
            {
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": metadata["namespace"],
                    "labels": labels,
                    "annotations": dict(template.get("metadata", {}).get("annotations", {})),
                    "ownerReferences": [owner],
                },
                "spec": {**copy.deepcopy(template["spec"]), "nodeName": f"node-{index}"},
                "status": {"phase": "Pending"},
            }
        )

    # Small parts.

    def _write(self, line: str) -> None:
        self.log.append(line)
        for trouble in self.troubles:
            if line.startswith(trouble[0]):
                self.troubles.remove(trouble)
                raise trouble[1]

    def _stamp(self, raw: Raw) -> None:
        raw["metadata"]["resourceVersion"] = str(next(self._numbers))

    def _read(self, kind: str, namespace: str, name: str) -> Raw | None:
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    def _labelled(self, kind: str, namespace: str, label: str) -> tuple[Raw, ...]:
        return tuple(
            copy.deepcopy(raw)
            for place, raw in self.objects.items()
            if place[:2] == (kind, namespace) and raw["metadata"].get("labels", {}).get(names.LABEL_JOB) == label
        )

    def _workloads(self, uids: set[str]) -> tuple[Raw, ...]:
        found = (raw for (kind, _, _), raw in self.objects.items() if kind == "Workload")
        return tuple(copy.deepcopy(raw) for raw in found if raw["metadata"]["labels"][names.LABEL_QUEUED_UID] in uids)

    def _owned(self, uid: str) -> list[tuple[str, str, str]]:
        return [
            place
            for place, raw in self.objects.items()
            if any(owner["uid"] == uid for owner in raw["metadata"].get("ownerReferences", []))
        ]

    def _pods(self, wanted: tuple[str, ...], unless_named: Callable[[Raw], bool]) -> list[Raw]:
        pods = [raw for (kind, _, _), raw in self.objects.items() if kind == "Pod"]
        return [raw for raw in pods if (raw["metadata"]["name"] in wanted if wanted else unless_named(raw))]

    def _phase(self, raw: Raw, phase: str, state: Raw) -> None:
        raw["status"].update(phase=phase, containerStatuses=[{"name": names.CONTAINER, "state": state}])
        self._stamp(raw)

    @staticmethod
    def _condition(raw: Raw, kind: str) -> bool:
        conditions = raw.get("status", {}).get("conditions", [])
        return any(one["type"] == kind and one["status"] == "True" for one in conditions)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _replicas(job: Raw) -> Iterator[tuple[str, int]]:
    """(replica type, index) of every pod of a PyTorchJob, the master first."""
    for kind in ("Master", "Worker"):
        spec = job["spec"]["pytorchReplicaSpecs"].get(kind)
        for index in range(spec["replicas"] if spec else 0):
            yield kind, index
