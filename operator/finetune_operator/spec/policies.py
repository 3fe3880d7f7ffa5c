"""When a job's pods may run, how long and how often, and what runs before and after them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from finetune_operator.spec.part import Flag, Name, Part, Quantity, Seconds, Whole


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
    keep_succeeded_seconds: Seconds | None = Field(
        default=None,
        description="So long after a job has succeeded, its PyTorchJobs with their pods and logs and the Jobs beside"
        " them are removed, 0 at once; the FineTuneJob and what was written stay. They stay with it unless said.",
        examples=[86400],
    )
    keep_failed_seconds: Seconds | None = Field(
        default=None,
        description="The same after a job has failed; a preparation or export that failed stays, as removing it has it"
        " tried again. They stay with the FineTuneJob unless said.",
        examples=[604800],
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
