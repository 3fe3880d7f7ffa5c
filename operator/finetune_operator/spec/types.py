"""The manifest's `spec` as types: the CRD's schema and `kubectl explain` are generated from these sentences."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from finetune_operator.spec.part import Flag, Name, Part, Quantity, Seconds, Whole


class SecretRef(Part):
    """A Secret of the job's namespace, by name."""

    name: Name = Field(description="Name of the Secret.")


class Model(Part):
    """Where the base model comes from."""

    uri: str = Field(
        min_length=1,
        max_length=2048,
        description="hf://org/name, ms://org/name, s3://bucket/prefix, https://host/folder, pvc://claim/path, or an"
        " absolute path in the image.",
    )
    revision: str | None = Field(default=None, max_length=255, description="Branch, tag or commit at the hub.")
    secret_ref: SecretRef | None = Field(
        default=None, description="A Secret whose keys become environment variables, e.g. HF_TOKEN, AWS_ACCESS_KEY_ID."
    )


class Dataset(Part):
    """One data set: known by name, or with a source of its own."""

    name: str = Field(
        min_length=1,
        max_length=253,
        pattern=r"^[^,\s]+$",
        description="Name in dataset_info.json, or the name to give the source below.",
    )
    uri: str | None = Field(
        default=None,
        max_length=2048,
        description="pvc://claim/file, hf://org/name, ms://org/name, s3:// or gs://bucket/file, or an absolute path in"
        " the image; a folder of files too.",
    )
    info: dict[str, Any] | None = Field(
        default=None, description="LLaMA-Factory's dataset_info entry for the source: formatting, columns, tags ..."
    )


class Resources(Part):
    """What the training takes: nodes, GPUs on each, CPU and memory of each pod."""

    nodes: Whole = Field(default=1, ge=1, le=1024, description="Pods of the job, one on each node.")
    gpus_per_node: Whole = Field(default=0, ge=0, le=64, description="GPUs of each pod; 0 trains on CPUs.")
    gpu_resource: str = Field(default="nvidia.com/gpu", max_length=253, description="Extended resource to ask for.")
    gpu_memory: Quantity | None = Field(
        default=None,
        description="Memory of one GPU, e.g. 80Gi: a job that would not fit is refused before GPUs are taken.",
    )
    processes_per_node: Whole | None = Field(
        default=None, ge=1, le=64, description="Ranks of each pod; max(1, gpusPerNode) unless said."
    )
    cpu: Quantity | None = Field(default=None, description="CPUs of each pod.")
    memory: Quantity | None = Field(default=None, description="Memory of each pod.")
    extra: dict[str, Quantity] = Field(
        default_factory=dict, max_length=16, description="Further extended resources of each pod, e.g. rdma/hca: 1."
    )

    @model_validator(mode="after")
    def _a_gpu_for_each_process(self) -> Self:
        if 0 < self.gpus_per_node < (self.processes_per_node or 0):
            raise ValueError("processesPerNode must be at most gpusPerNode: each process needs a GPU of its own")
        return self


class Image(Part):
    """The trainer's image."""

    repository: str | None = Field(
        default=None, max_length=512, description="Repository; the operator's own unless said."
    )
    tag: str | None = Field(default=None, max_length=128, description="Tag; the operator's own unless said.")
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(default="IfNotPresent", description="Pull policy.")
    pull_secrets: tuple[SecretRef, ...] = Field(default=(), max_length=8, description="Secrets to pull with.")


class Claim(Part):
    """A PersistentVolumeClaim of the job's namespace."""

    claim_name: Name = Field(description="Name of the PersistentVolumeClaim.")
    sub_path: str | None = Field(default=None, max_length=1024, description="Folder inside the claim.")

    @field_validator("sub_path")
    @classmethod
    def _inside_the_claim(cls, path: str | None) -> str | None:
        if path is not None and (path.startswith("/") or ".." in path.split("/")):
            raise ValueError(f"must be a relative path without .., not {path}")
        return path


class Storage(Part):
    """Where a run writes, where models are kept, and how large /dev/shm is."""

    output: Claim | None = Field(default=None, description="What the run writes: checkpoints, model, logs.")
    cache: Claim | None = Field(default=None, description="Models and data sets fetched from hubs.")
    shared_memory: Quantity | None = Field(default=None, description="Size of /dev/shm in each pod.")
    fs_group: Whole | None = Field(
        default=1000, ge=0, le=2_147_483_647, description="Group that owns the volumes; null leaves them alone."
    )


class Network(Part):
    """How the ranks talk to each other."""

    profile: str | None = Field(
        default=None,
        max_length=63,
        description="NCCL and RDMA settings, kept once per cluster: tcp, infiniband, roce, efa, or its owner's own.",
    )


class Gang(Part):
    """All pods are scheduled together, or none of them: by Volcano, or by the scheduler-plugins' coscheduling."""

    queue: Name | None = Field(default=None, description="Volcano's queue; its default one unless said.")


class Scheduling(Part):
    """Where and when the pods may run."""

    queue: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        description="Kueue LocalQueue of the job's namespace to wait in (docs/queues.md).",
    )
    queue_priority_class_name: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        description="Kueue WorkloadPriorityClass: its place in the queue and who is evicted for whom; the pods'"
        " PriorityClass decides where it is left out.",
    )
    priority_class_name: str | None = Field(default=None, max_length=253, description="PriorityClass of the pods.")
    gang: Gang | None = Field(
        default=None,
        description="Start all pods together or none of them, by the scheduler of the training operator's flag"
        " --gang-scheduler-name; {} will do.",
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict, max_length=64, description="Labels that the nodes must carry."
    )
    tolerations: tuple[dict[str, Any], ...] = Field(default=(), max_length=32, description="Taints to tolerate.")
    start_timeout_seconds: Seconds = Field(
        default=1800, description="All pods must run this long after admission, or the nodes are given back."
    )


class RunPolicy(Part):
    """Suspension, attempts, deadlines, and what becomes of the pods."""

    suspend: Flag = Field(default=False, description="Remove the pods and keep the checkpoint; false goes on from it.")
    max_attempts: Whole = Field(
        default=4, ge=1, le=100, description="Attempts that may fail before the job has failed."
    )
    active_deadline_seconds: Seconds | None = Field(
        default=None, description="Longest time from the first admission to the end, without time in a queue."
    )
    hang_timeout_seconds: Seconds = Field(
        default=1800,
        description="A rank that makes no step for this long has failed: three times as long for the first step, "
        "twice for an evaluation, four times for a checkpoint; 0 never.",
    )
    termination_grace_period_seconds: Seconds = Field(
        default=600, description="Time to save a checkpoint between SIGTERM and SIGKILL."
    )
    avoid_failed_nodes: Flag = Field(
        default=False,
        description="Later attempts stay off nodes that an earlier one failed on, also where that leaves too few.",
    )
    checkpoint_seconds: Seconds = Field(
        default=0,
        description="A checkpoint also when this much time has passed since the last one, beside training.save_steps; "
        "0 never.",
    )
    keep_checkpoint_seconds: Seconds = Field(
        default=0,
        description="Of checkpoints that training.save_total_limit lets go, one for each such period stays; 0 none.",
    )
    clean_pods: Literal["None", "Running", "All"] = Field(
        default="Running", description="Pods to remove when the job has ended."
    )


class SideJob(Part):
    """A Job of one pod without a GPU."""

    cpu: Quantity | None = Field(default=None, description="CPUs that it asks for; it may use more.")
    memory: Quantity | None = Field(default=None, description="Memory that it asks for; it may use more.")
    node_selector: dict[str, str] = Field(
        default_factory=dict, max_length=64, description="Labels of the nodes that it may run on."
    )


class Prepare(SideJob):
    """The Job that fetches the model, tokenises the data and tells the size, before GPUs are taken."""


class Export(SideJob):
    """What to make of the trained model, when the GPUs are given back."""

    merge: Flag = Field(
        default=False,
        description="Merge the adapter into the base model: <output_dir>/merged. It takes memory for the whole model.",
    )


class FineTuneJobSpec(Part):
    """One fine-tuning, from base model and data to a trained model."""

    model: Model | None = Field(default=None, description="The base model; training.model_name_or_path unless said.")
    datasets: tuple[Dataset, ...] = Field(
        default=(), max_length=64, description="The data; training.dataset unless said."
    )
    training: dict[str, Any] = Field(description="A LLaMA-Factory config, pasted as it is.")
    resources: Resources = Field(default_factory=Resources, description="Nodes, GPUs, CPU, memory.")
    image: Image = Field(default_factory=Image, description="The trainer's image.")
    storage: Storage = Field(default_factory=Storage, description="Claims and shared memory.")
    env: tuple[dict[str, Any], ...] = Field(
        default=(), max_length=128, description="Environment variables: values, and references to Secrets."
    )
    network: Network = Field(default_factory=Network, description="How the ranks talk to each other.")
    scheduling: Scheduling = Field(default_factory=Scheduling, description="Where and when the pods may run.")
    launcher: Literal["torchrun", "deepspeed"] = Field(default="torchrun", description="What starts the ranks.")
    run_policy: RunPolicy = Field(default_factory=RunPolicy, description="Suspension, attempts, deadlines.")
    prepare: Prepare = Field(default_factory=Prepare, description="The Job that runs before the training.")
    export: Export | None = Field(default=None, description="What to make of the trained model.")
    pod_template: dict[str, Any] = Field(
        default_factory=dict, description="A strategic-merge overlay of the pods' template, for what nobody foresaw."
    )

    @property
    def processes_per_node(self) -> int:
        """Ranks of each pod."""
        return self.resources.processes_per_node or max(1, self.resources.gpus_per_node)

    @property
    def world_size(self) -> int:
        """Ranks of the whole job."""
        return self.resources.nodes * self.processes_per_node
