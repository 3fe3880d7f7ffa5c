"""The values of this room: what goes in raw, and what a pass knows of the cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from finetune_trainer.records import Exported, Outcome, Preparation, Progress, Report

Told = TypeVar("Told", bound=Report)


@dataclass(frozen=True, kw_only=True, slots=True)
class RawChildren:
    """A job's children as the API server gave them, by our labels."""

    configmaps: tuple[dict[str, Any], ...] = ()
    """Metadata only: what they hold is not needed again."""
    jobs: tuple[dict[str, Any], ...] = ()
    pytorchjobs: tuple[dict[str, Any], ...] = ()
    pods: tuple[dict[str, Any], ...] = ()
    workloads: tuple[dict[str, Any], ...] = ()
    """Kueue's, of those PyTorchJobs that carry a queue."""
    pending: tuple[dict[str, Any], ...] = ()
    """Kueue's PendingWorkloads of their queues: the places; empty where Kueue does not tell them."""
    kueue_trouble: str = ""
    """Why there are no Workloads to read: Kueue is not installed, or rights are missing."""
    claims: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    """The PersistentVolumeClaims asked for, by name; None where there is none."""
    live: bool = True
    """As they are now; else as the watches showed them last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Posted:
    """The newest post that the intake accepted, and of which job and attempt it speaks; 0: of its preparation."""

    job_uid: str
    attempt: int
    progress: Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedPod:
    """One pod of an attempt."""

    name: str
    uid: str
    node_rank: int
    node: str | None = None
    phase: str = "Pending"
    deleting: bool = False
    gone_by: datetime | None = None
    """Of a pod that is being deleted: when its grace time is over, and its kubelet should have ended it."""
    disruption: str | None = None
    """Message of a True DisruptionTarget condition: drained, evicted, preempted."""
    running: bool = False
    """The trainer's container runs."""
    started: datetime | None = None
    waiting: str | None = None
    """Why it does not start yet: `ImagePullBackOff: ...`, `Unschedulable: ...`."""
    terminated: str | None = None
    """The kubelet's reason of the trainer's container: Completed, Error, OOMKilled; Evicted for the whole pod."""
    exit_code: int | None = None
    outcome: Outcome | None = None
    """The supervisor's own record, from the termination message."""
    message: str = ""
    """The termination message where it is no record of ours, or the pod's own message."""
    image_digest: str | None = None
    """repository@sha256:... that the kubelet ran, where it says so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedQueue:
    """What Kueue's Workload says of an attempt's PyTorchJob."""

    workload: str
    queue: str
    state: Literal["Waiting", "Reserved", "Admitted", "Evicted"]
    """Reserved: it has its quota, and waits for admission checks. Evicted: until it has quota again."""
    reason: str = ""
    """Kueue's word for why it waits, or was evicted: Pending, Inadmissible, Preempted ..."""
    message: str = ""
    """Kueue's sentence, why it waits; of an evicted one, why it was."""
    waits: str = ""
    """Of an evicted one: why it waits still."""
    admission: str | None = None
    """When it was admitted, as Kueue wrote it; another text is another admission."""
    cluster_queue: str | None = None
    flavors: tuple[str, ...] = ()
    position: int | None = None
    """Its place in the queue, from 1."""
    position_in_cluster_queue: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedAttempt:
    """The children of one attempt."""

    number: int
    created: datetime | None = None
    exists: bool = False
    """The PyTorchJob is there."""
    deleting: bool = False
    suspended: bool = False
    """spec.runPolicy.suspend of the PyTorchJob: it waits in a queue."""
    uid: str = ""
    """Of the PyTorchJob."""
    wanted: int = 0
    """Pods that it is to have."""
    refusal: str = ""
    """What the training operator was told when it could not make them; known only where pods are missing."""
    phase: str = ""
    """The newest True condition of the PyTorchJob: Created, Running, Restarting, Suspended, Succeeded, Failed."""
    message: str = ""
    started: datetime | None = None
    """When it started, or was resumed; None from a resumption until the training operator has taken note of it."""
    queue: ObservedQueue | None = None
    pods: tuple[ObservedPod, ...] = ()
    leftovers: tuple[tuple[str, str], ...] = ()
    """(kind, name) of everything that carries this attempt's label."""

    @property
    def lacks_pods(self) -> bool:
        """It is let in, goes on, and has fewer pods than it wants: they are being made, or refused."""
        is_waiting = self.exists and not self.deleting and not self.suspended
        return is_waiting and self.phase in {"", "Created"} and len(self.pods) < self.wanted


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedJob(Generic[Told]):
    """The Job that prepares or exports, and what its newest pod says."""

    name: str
    hash: str = ""
    """Of what it was told: `names.ANNOTATION_PREPARES`."""
    deleting: bool = False
    phase: Literal["Active", "Complete", "Failed"] = "Active"
    message: str = ""
    """The Job's own, where it failed."""
    found: Told | None = None
    """What a pod left: of the one that succeeded, else the newest failure's."""
    waiting: str | None = None
    """Why its pod does not start yet."""
    pods: frozenset[tuple[str, str]] = frozenset()
    """(name, uid): they may speak for the job."""
    retries: int = 0
    """Pods that failed and were followed by another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedClaim:
    """A PersistentVolumeClaim that the job names; `found` is False where there is none."""

    name: str
    found: bool
    access_modes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Frozen:
    """What attempt 1 froze, as the config ConfigMap holds it."""

    spec_hash: str
    contract: int
    image: str
    nodes: int
    """Of attempt 1; later attempts may have others, and none of the above changes with them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """Everything that one pass knows of the cluster; nothing more is read later in the pass."""

    attempts: tuple[ObservedAttempt, ...] = ()
    """By number, rising."""
    prepare: ObservedJob[Preparation] | None = None
    export: ObservedJob[Exported] | None = None
    frozen: Frozen | None = None
    claims: dict[str, ObservedClaim] = field(default_factory=dict)
    progress: Progress | None = None
    """The newest post that the intake accepted for the newest attempt."""
    kueue_trouble: str = ""
    """Why nothing is known of queues, where a PyTorchJob carries one."""
    foreign: tuple[tuple[str, str], ...] = ()
    """(kind, name) of children of an earlier job of the same name, not collected yet: start nothing beside them."""
