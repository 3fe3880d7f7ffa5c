"""The manifest's `spec` as types: the CRD's schema and `kubectl explain` are generated from these sentences."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from finetune_operator.spec.part import Flag, Name, Part, Quantity, Seconds, Whole


class SecretRef(Part):
    """A Secret of the job's namespace, by name."""

    name: Name = Field(description="Name of the Secret.", examples=["modelscope-token"])


class Model(Part):
    """Where the base model comes from."""

    uri: str = Field(
        min_length=1,
        max_length=2048,
        description="hf://org/name, ms://org/name, s3://bucket/prefix, https://host/folder, pvc://claim/path, or an"
        " absolute path in the image.",
        examples=["hf://Qwen/Qwen2.5-7B-Instruct"],
    )
    revision: str | None = Field(
        default=None,
        max_length=255,
        description="Branch, tag or commit at the hub; the hub's main branch unless said.",
        examples=["v1.0"],
    )
    secret_ref: SecretRef | None = Field(
        default=None,
        description="A Secret whose keys become environment variables of the pod that fetches: HF_TOKEN,"
        " MODELSCOPE_API_TOKEN, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; none unless said.",
        examples=[{"name": "modelscope-token"}],
    )


class Dataset(Part):
    """One data set: known by name, or with a source of its own."""

    name: str = Field(
        min_length=1,
        max_length=253,
        pattern=r"^[^,\s]+$",
        description="Name in dataset_info.json, or the name to give the source below.",
        examples=["identity"],
    )
    uri: str | None = Field(
        default=None,
        max_length=2048,
        description="pvc://claim/file, hf://org/name, ms://org/name, s3:// or gs://bucket/file, or an absolute path in"
        " the image; a folder of files too. Unless said, the name is looked up in dataset_info.json.",
        examples=["pvc://datasets/tickets.jsonl"],
    )
    info: dict[str, Any] | None = Field(
        default=None,
        description="LLaMA-Factory's dataset_info entry for the source: formatting, columns, tags ...; alpaca's"
        " columns unless said.",
        examples=[{"formatting": "sharegpt", "columns": {"messages": "conversations"}}],
    )


class Resources(Part):
    """What the training takes: nodes, GPUs on each, CPU and memory of each pod."""

    nodes: Whole = Field(default=1, ge=1, le=1024, description="Pods of the job, one on each node.", examples=[4])
    gpus_per_node: Whole = Field(
        default=0, ge=0, le=64, description="GPUs of each pod; 0 trains on CPUs.", examples=[8]
    )
    gpu_resource: str = Field(
        default="nvidia.com/gpu",
        max_length=253,
        description="Extended resource that a GPU is asked for by.",
        examples=["amd.com/gpu"],
    )
    gpu_memory: Quantity | None = Field(
        default=None,
        description="Memory of one GPU: a job that would not fit is refused before GPUs are taken. Not judged unless"
        " said.",
        examples=["80Gi"],
    )
    processes_per_node: Whole | None = Field(
        default=None, ge=1, le=64, description="Ranks of each pod; max(1, gpusPerNode) unless said.", examples=[8]
    )
    cpu: Quantity | None = Field(
        default=None, description="CPUs of each pod, asked for and allowed; no limit unless said.", examples=[64]
    )
    memory: Quantity | None = Field(
        default=None, description="Memory of each pod, asked for and allowed; no limit unless said.", examples=["1Ti"]
    )
    extra: dict[str, Quantity] = Field(
        default_factory=dict,
        max_length=16,
        description="Further extended resources of each pod; none unless said.",
        examples=[{"rdma/hca": 1}],
    )

    @model_validator(mode="after")
    def _a_gpu_for_each_process(self) -> Self:
        if 0 < self.gpus_per_node < (self.processes_per_node or 0):
            raise ValueError("processesPerNode must be at most gpusPerNode: each process needs a GPU of its own")
        return self


class Image(Part):
    """The trainer's image."""

    repository: str | None = Field(
        default=None,
        max_length=512,
        description="Repository; the operator's own unless said.",
        examples=["registry.example.com/finetune-trainer"],
    )
    tag: str | None = Field(
        default=None,
        max_length=128,
        description="Tag; the operator's own unless said. An image built as legacy holds transformers 4.53, for models"
        " whose own code needs it.",
        examples=["0.1.0"],
    )
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="When a node pulls the image."
    )
    pull_secrets: tuple[SecretRef, ...] = Field(
        default=(),
        max_length=8,
        description="Secrets to pull with; none unless said.",
        examples=[[{"name": "registry"}]],
    )


class Claim(Part):
    """A PersistentVolumeClaim of the job's namespace."""

    claim_name: Name = Field(description="Name of the PersistentVolumeClaim.", examples=["runs"])
    sub_path: str | None = Field(
        default=None,
        max_length=1024,
        description="Folder inside the claim; its root unless said.",
        examples=["team-a"],
    )

    @field_validator("sub_path")
    @classmethod
    def _inside_the_claim(cls, path: str | None) -> str | None:
        if path is not None and (path.startswith("/") or ".." in path.split("/")):
            raise ValueError(f"must be a relative path without .., not {path}")
        return path


class Storage(Part):
    """Where a run writes, where models are kept, and how large /dev/shm is."""

    output: Claim | None = Field(
        default=None,
        description="What the run writes: checkpoints, model, logs, under"
        " <namespace>/<job>/<output_dir>. Unless said it goes with the pod: no other attempt goes on from it.",
        examples=[{"claimName": "runs"}],
    )
    cache: Claim | None = Field(
        default=None,
        description="Models and data sets fetched from hubs, for all jobs that name it; each pod fetches anew unless"
        " said.",
        examples=[{"claimName": "models"}],
    )
    shared_memory: Quantity | None = Field(
        default=None,
        description="Largest size of /dev/shm in each pod, a part of its memory; no limit of its own unless said.",
        examples=["64Gi"],
    )
    fs_group: Whole | None = Field(
        default=1000, ge=0, le=2_147_483_647, description="Group that owns the volumes; null leaves them alone."
    )


class Network(Part):
    """How the ranks talk to each other."""

    profile: str | None = Field(
        default=None,
        max_length=63,
        description="NCCL and RDMA settings, kept once per cluster: tcp, infiniband, roce, efa, or its owner's own;"
        " none unless said.",
        examples=["roce"],
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
        description="Kueue LocalQueue of the job's namespace to wait in (docs/queues.md); none unless said.",
        examples=["team-a"],
    )
    queue_priority_class_name: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        description="Kueue WorkloadPriorityClass: its place in the queue and who is evicted for whom; the pods'"
        " PriorityClass unless said.",
        examples=["urgent"],
    )
    priority_class_name: str | None = Field(
        default=None,
        max_length=253,
        description="PriorityClass of the pods; the cluster's default unless said.",
        examples=["batch"],
    )
    gang: Gang | None = Field(
        default=None,
        description="Start all pods together or none of them, by the scheduler of the training operator's flag"
        " --gang-scheduler-name; {} will do. No gang unless said.",
        examples=[{"queue": "training"}],
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict,
        max_length=64,
        description="Labels that the nodes must carry; none unless said.",
        examples=[{"node.kubernetes.io/instance-type": "a800-8"}],
    )
    tolerations: tuple[dict[str, Any], ...] = Field(
        default=(),
        max_length=32,
        description="Taints to tolerate; none unless said.",
        examples=[[{"key": "nvidia.com/gpu", "operator": "Exists"}]],
    )
    start_timeout_seconds: Seconds = Field(
        default=1800, description="All pods must run this many seconds after admission, or the nodes are given back."
    )


class RunPolicy(Part):
    """Suspension, attempts, deadlines, and what becomes of the pods."""

    suspend: Flag = Field(default=False, description="Remove the pods and keep the checkpoint; false goes on from it.")
    max_attempts: Whole = Field(
        default=4, ge=1, le=100, description="Attempts that may fail before the job has failed."
    )
    active_deadline_seconds: Seconds | None = Field(
        default=None,
        description="Longest time in seconds from the first admission to the end, without time in a queue;"
        " no end unless said.",
        examples=[259200],
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

    cpu: Quantity | None = Field(
        default=None, description="CPUs that it asks for, and it may use more; none unless said.", examples=[4]
    )
    memory: Quantity | None = Field(
        default=None, description="Memory that it asks for, and it may use more; none unless said.", examples=["32Gi"]
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict,
        max_length=64,
        description="Labels of the nodes that it may run on; any node unless said.",
        examples=[{"pool": "cpu"}],
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

    model: Model | None = Field(
        default=None,
        description="The base model; training.model_name_or_path unless said.",
        examples=[{"uri": "hf://Qwen/Qwen2.5-7B-Instruct"}],
    )
    datasets: tuple[Dataset, ...] = Field(
        default=(),
        max_length=64,
        description="The data; training.dataset unless said.",
        examples=[[{"name": "identity"}, {"name": "tickets", "uri": "pvc://datasets/tickets.jsonl"}]],
    )
    training: dict[str, Any] = Field(
        description="A LLaMA-Factory config, pasted as it is; unknown keys are refused.",
        examples=[{"stage": "sft", "finetuning_type": "lora", "template": "qwen", "learning_rate": 1.0e-4}],
    )
    resources: Resources = Field(default_factory=Resources, description="Nodes, GPUs, CPU, memory.")
    image: Image = Field(default_factory=Image, description="The trainer's image.")
    storage: Storage = Field(default_factory=Storage, description="Claims and shared memory.")
    env: tuple[dict[str, Any], ...] = Field(
        default=(),
        max_length=128,
        description="Environment variables of the pods: values, and references to Secrets; none unless said.",
        examples=[[{"name": "WANDB_API_KEY", "valueFrom": {"secretKeyRef": {"name": "wandb", "key": "api-key"}}}]],
    )
    network: Network = Field(default_factory=Network, description="How the ranks talk to each other.")
    scheduling: Scheduling = Field(default_factory=Scheduling, description="Where and when the pods may run.")
    launcher: Literal["torchrun", "deepspeed"] = Field(default="torchrun", description="What starts the ranks.")
    run_policy: RunPolicy = Field(default_factory=RunPolicy, description="Suspension, attempts, deadlines.")
    prepare: Prepare = Field(default_factory=Prepare, description="The Job that runs before the training.")
    export: Export | None = Field(
        default=None, description="What to make of the trained model; nothing unless said.", examples=[{"merge": True}]
    )
    pod_template: dict[str, Any] = Field(
        default_factory=dict,
        description="A strategic-merge overlay of the pods' template, for what nobody foresaw; the container's name is"
        " pytorch. Nothing unless said.",
        examples=[{"metadata": {"labels": {"team": "a"}}}],
    )

    @property
    def processes_per_node(self) -> int:
        """Ranks of each pod."""
        return self.resources.processes_per_node or max(1, self.resources.gpus_per_node)

    @property
    def world_size(self) -> int:
        """Ranks of the whole job."""
        return self.resources.nodes * self.processes_per_node
