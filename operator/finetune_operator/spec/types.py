"""The manifest's `spec` as types: the CRD's schema and `kubectl explain` are generated from these sentences."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from finetune_operator.spec.part import Part
from finetune_operator.spec.pods import Image, Network, Resources, SecretRef, Storage
from finetune_operator.spec.policies import Export, Prepare, RunPolicy, Scheduling


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
