"""What the pods of a job are made of: resources, image, claims, network."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from finetune_operator.spec.part import Name, Part, Quantity, Whole


class SecretRef(Part):
    """A Secret of the job's namespace, by name."""

    name: Name = Field(description="Name of the Secret.", examples=["modelscope-token"])


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
