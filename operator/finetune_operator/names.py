"""Group, labels, child names, conditions and reasons: the words that several rooms share.

Law: imports nothing of ours; constants with a sentence each, and functions of strings.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

GROUP = "finetune.dev"
VERSION = "v1alpha1"
KIND = "FineTuneJob"
PLURAL = "finetunejobs"
API_VERSION = f"{GROUP}/{VERSION}"
FIELD_MANAGER = "finetune-operator"
"""Owner of every field that we apply."""

LABEL_JOB = f"{GROUP}/job-name"
"""On every child, and on the pods: the hash-safe base name of the FineTuneJob."""
LABEL_ATTEMPT = f"{GROUP}/attempt"
LABEL_ROLE = f"{GROUP}/role"
ROLE_CONFIG = "config"
"""The ConfigMaps."""
ROLE_TRAIN = "train"
"""The PyTorchJob and its pods."""
ROLE_PREPARE = "prepare"
"""The Job that prepares, its pods and its ConfigMap."""
ROLE_EXPORT = "export"
"""The Job that exports, and its pods."""
ANNOTATION_JOB = f"{GROUP}/job"
"""On every child: the FineTuneJob's full name (a label's value is limited to 63 characters)."""
ANNOTATION_SPEC_HASH = f"{GROUP}/spec-hash"
"""On the frozen ConfigMap, with the three below: what attempt 1 froze."""
ANNOTATION_CONTRACT = f"{GROUP}/contract-version"
ANNOTATION_IMAGE = f"{GROUP}/image"
ANNOTATION_NODES = f"{GROUP}/nodes"
ANNOTATION_PREPARES = f"{GROUP}/prepares"
"""On the Job that prepares: a hash of what it was told; another one is another preparation."""
ANNOTATION_IGNORE_MEMORY = f"{GROUP}/ignore-memory"
"""On a FineTuneJob: "true" starts it although the estimate says that it does not fit."""
STARTS_ANYWAY = f'the annotation {ANNOTATION_IGNORE_MEMORY}: "true" starts it all the same'
LABEL_UID = f"{GROUP}/job-uid"
"""On every child, and on the pods: an earlier job of the same name may still have children in the cluster."""
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"
LABEL_QUEUE_PRIORITY = "kueue.x-k8s.io/priority-class"
LABEL_QUEUED_UID = "kueue.x-k8s.io/job-uid"
"""On a Workload, by Kueue: the uid of the PyTorchJob that it queues."""
TRAINING_JOB_LABEL = "training.kubeflow.org/job-name"
TRAINING_TYPE_LABEL = "training.kubeflow.org/replica-type"
TRAINING_INDEX_LABEL = "training.kubeflow.org/replica-index"

PYTORCHJOB_GROUP = "kubeflow.org"
PYTORCHJOB_API_VERSION = "kubeflow.org/v1"
PYTORCHJOB_PLURAL = "pytorchjobs"
WORKLOAD_API_VERSION = "kueue.x-k8s.io/v1beta2"
PENDING_API_VERSION = "visibility.kueue.x-k8s.io/v1beta2"
"""Kueue's own API server, which knows the places in a queue."""
CONTAINER = "pytorch"
"""The training operator's webhook wants a container of this name."""
MASTER_PORT = 23456

DOES_NOT_FIT = "DoesNotFit"
"""Why a job fails that was prepared well: it takes more memory than its GPUs have."""

KUEUE_UNREADABLE = "KueueUnreadable"
"""Why a job with a queue waits: Kueue is not installed, or we may not read its Workloads."""
NO_WORKLOAD = "NoWorkload"
"""The same: Kueue is there and takes no notice of the PyTorchJob."""
QUEUE_MISSING = "QueueMissing"
"""The same: nobody has made the LocalQueue, or its ClusterQueue."""
QUEUED = "Queued"
QUEUE_SUSPENDS = "SuspendedByQueue"
"""A job that was admitted and then evicted."""

# Conditions: the first three as kstatus reads them, the others for people.
READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"
ACCEPTED = "Accepted"
PREPARED = "Prepared"
ADMITTED = "Admitted"
PODS_READY = "PodsReady"
TRAINING = "Training"
CHECKPOINT_AVAILABLE = "CheckpointAvailable"
EXPORTED = "Exported"
SUSPENDED = "Suspended"
SUCCEEDED = "Succeeded"


class Key(NamedTuple):
    """A FineTuneJob by name: what the work queue holds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """`namespace/name`, as kubectl writes it."""
        return f"{self.namespace}/{self.name}"


_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 253


def is_name(text: str) -> bool:
    """Whether an object of the API server may have this name (a DNS-1123 subdomain).

    What is none, e.g. `../../other/x`, would lead to another place when a path is made of it.
    """
    return len(text) <= _LONGEST_NAME and _NAME.fullmatch(text) is not None


def audience(key: Key) -> str:
    """Whom a pod's token is for: the intake, about this job alone."""
    return f"{GROUP}/intake/{key}"


_LONGEST_SUFFIX = len("-999-worker-9999")


def base_name(job: str) -> str:
    """A DNS-1035 name for a job's children that leaves room for `-<attempt>-worker-<index>` in 63 characters.

    A short, plain name stays as it is. A long one, one with a dot, or one that starts with a digit is cut and gets the
    first ten hexadecimal digits of its SHA-256, so that two jobs never share a child.
    """
    limit = 63 - _LONGEST_SUFFIX
    if re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", job) and len(job) <= limit:
        return job
    digest = hashlib.sha256(job.encode()).hexdigest()[:10]
    plain = re.sub(r"[^-a-z0-9]", "-", job.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"j-{plain}"
    return f"{plain[: limit - 11].rstrip('-')}-{digest}"


def config_name(job: str) -> str:
    """The ConfigMap that is frozen at attempt 1."""
    return f"{base_name(job)}-config"


def prepare_name(job: str) -> str:
    """The Job that prepares, and its ConfigMap."""
    return f"{base_name(job)}-prepare"


def export_name(job: str) -> str:
    """The Job that exports."""
    return f"{base_name(job)}-export"


def attempt_name(job: str, attempt: int) -> str:
    """The PyTorchJob of one attempt, and its ConfigMap with the hostfile."""
    return f"{base_name(job)}-{attempt}"


def pod_name(pytorchjob: str, node_rank: int) -> str:
    """The pod, and headless Service, that the training operator makes for a node."""
    return f"{pytorchjob}-master-0" if node_rank == 0 else f"{pytorchjob}-worker-{node_rank - 1}"
