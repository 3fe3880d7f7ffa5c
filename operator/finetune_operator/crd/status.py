"""The status as types, for the CRD's schema alone: `status` writes it, `spec.recorded` reads its memory back.

Numbers that are no whole numbers travel as text, as Kubernetes' conventions want them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from finetune_operator.spec.part import Part

Count = Annotated[int, Field(ge=0, le=2_147_483_647)]
Large = Annotated[int, Field(ge=0, le=2**53)]
Generation = Annotated[int, Field(ge=-1, le=2**53)]
Short = Annotated[str, Field(max_length=253)]
Figure = Annotated[str, Field(max_length=32)]
Message = Annotated[str, Field(max_length=32_768)]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Condition(Part):
    """One aspect of the job's state, as Kubernetes writes conditions."""

    type: str = Field(
        max_length=316, pattern=r"^[A-Z][A-Za-z]*$", description="Ready, Reconciling, Stalled, Accepted, Succeeded ..."
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    observed_generation: Generation | None = Field(
        default=None, description="metadata.generation that it speaks about."
    )
    last_transition_time: Time = Field(description="When status last changed.")
    reason: str = Field(
        min_length=1,
        max_length=1024,
        pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        description="One word, CamelCase.",
    )
    message: Message = Field(description="A sentence for people.")


class Attempt(Part):
    """One attempt that has ended."""

    number: Count = Field(description="Running number, from 1.")
    reason: Short = Field(description="Why it ended, one word.")
    message: Message = Field(description="Why it ended, for people.")
    counted: bool = Field(description="It counts towards runPolicy.maxAttempts.")
    retryable: bool | None = Field(default=None, description="Another attempt may end otherwise.")
    start_time: Time | None = Field(default=None, description="When its pods ran.")
    finish_time: Time | None = Field(default=None, description="When it ended.")
    rank: Count | None = Field(default=None, description="The first rank that failed.")
    node: Short | None = Field(default=None, description="The node of that rank.")
    step: Count | None = Field(default=None, description="The last step.")
    checkpoint_step: Count | None = Field(default=None, description="Step of its latest checkpoint.")
    log_tail: Message | None = Field(default=None, description="The last lines of the failed rank's log.")
    gpus: Count | None = Field(default=None, description="GPUs that it held; left out where it held none.")
    lost_seconds: Count | None = Field(
        default=None,
        description="Seconds of it that have to be repeated: since its last complete checkpoint, as far as that was"
        " known when it ended; left out where there are none.",
    )


class Pod(Part):
    """A pod of the running attempt, as first seen; another uid under the name is a stranger."""

    name: Short = Field(description="Name of the pod.")
    uid: Short = Field(description="Uid of the pod.")


class Queue(Part):
    """Where the job stands in its queue, as Kueue's Workload has it."""

    name: Short = Field(description="The LocalQueue.")
    state: Literal["Waiting", "Reserved", "Admitted", "Evicted"] | None = Field(
        default=None, description="Evicted until it has quota again; Reserved while it waits for admission checks."
    )
    workload: Short | None = Field(default=None, description="Kueue's Workload of the newest attempt.")
    cluster_queue: Short | None = Field(default=None, description="The ClusterQueue that gave the quota.")
    flavors: tuple[Short, ...] = Field(default=(), max_length=64, description="The ResourceFlavors of the pods.")
    position: Count | None = Field(
        default=None, description="Place in the LocalQueue, from 1; at most 15 s for each place old."
    )
    position_in_cluster_queue: Count | None = Field(default=None, description="The same in the ClusterQueue.")
    admitted_time: Time | None = Field(default=None, description="When Kueue admitted it last.")
    admissions: Count = Field(default=0, description="How often it was let in.")
    evictions: Count = Field(default=0, description="How often it was evicted; that counts as no attempt.")
    since: Time | None = Field(default=None, description="Since when it waits; left out while it does not.")
    waited_seconds: Count = Field(
        default=0,
        description="Time in the queue after the first admission: runPolicy.activeDeadlineSeconds leaves it out.",
    )


class Preparation(Part):
    """What was found before GPUs were taken."""

    model: Annotated[str, Field(max_length=4096)] | None = Field(
        default=None, description="Folder of the fetched model."
    )
    parameters: Large | None = Field(default=None, description="Parameters of the model.")
    memory_per_gpu: Figure | None = Field(
        default=None, description="What one GPU needs, by the estimate, e.g. 62.2 GiB."
    )
    fits: bool | None = Field(default=None, description="Whether that fits into resources.gpuMemory.")
    rows: Large | None = Field(default=None, description="Rows to train on.")
    tokens: Large | None = Field(default=None, description="Tokens of these rows.")
    steps: Count | None = Field(default=None, description="Steps that they make.")


class Progress(Part):
    """How far the running attempt, or the preparation before it, is, by its own report."""

    step: Count | None = Field(default=None, description="Steps done.")
    total_steps: Count | None = Field(default=None, description="Steps in all.")
    epoch: Figure | None = Field(default=None, description="Passes over the data, e.g. 1.25.")
    loss: Figure | None = Field(default=None, description="The latest training loss.")
    learning_rate: Figure | None = Field(default=None, description="The latest learning rate.")
    tokens_per_second: Figure | None = Field(default=None, description="Tokens per second, all ranks together.")
    tokens_per_second_per_gpu: Figure | None = Field(
        default=None, description="The same of each rank, which has one GPU."
    )
    mfu: Figure | None = Field(
        default=None,
        description="Model FLOPs utilisation, 0 to 1; left out where the GPU's peak or the model's work is not known.",
    )
    peak_memory: Figure | None = Field(
        default=None, description="What the fullest rank took of its GPU at most, or of main memory, e.g. 62.1Gi."
    )
    percentage: Figure | None = Field(default=None, description="Share of the steps that is done, e.g. 42%.")
    eta: Figure | None = Field(default=None, description="Time that is left, e.g. 3m 20s.")
    remaining_seconds: Count | None = Field(default=None, description="The same in seconds.")
    phase: Short | None = Field(
        default=None, description="fetching, starting, data, model, training, evaluating, saving."
    )
    checkpoint_step: Count | None = Field(default=None, description="Step of the latest complete checkpoint.")
    checkpoint_path: Annotated[str, Field(max_length=4096)] | None = Field(
        default=None, description="Where that checkpoint lies, as the pods see it."
    )
    checkpoint_time: Time | None = Field(default=None, description="When that checkpoint was complete.")
    rows: Count | None = Field(default=None, description="Rows read, of all data sets.")
    rows_dropped: Count | None = Field(default=None, description="Rows left out; data_report.json lists them.")
    rows_truncated: Count | None = Field(default=None, description="Rows cut to cutoff_len.")
    rows_changed: Count | None = Field(default=None, description="Rows kept, but not as the file has them.")
    fetched: Figure | None = Field(default=None, description="Of the model, while it is fetched: 31.2 of 72.1 GB.")
    bytes_per_second: Large | None = Field(default=None, description="Speed of the fetch.")
    update_time: Time | None = Field(default=None, description="When the report was made.")


class Status(Part):
    """Where the job stands. Written by the operator alone."""

    observed_generation: Generation | None = Field(
        default=None,
        description="metadata.generation that this status speaks about; -1 before the operator has looked.",
    )
    conditions: tuple[Condition, ...] = Field(default=(), max_length=32, description="Every aspect of the state.")
    state: Short | None = Field(
        default=None, description="The state in one word, for people; programs read conditions."
    )
    message: Message | None = Field(default=None, description="The state in a sentence.")
    attempt: Count | None = Field(default=None, description="Number of the newest attempt.")
    attempts: tuple[Attempt, ...] = Field(default=(), max_length=1000, description="Attempts that have ended.")
    pods: tuple[Pod, ...] = Field(default=(), max_length=1024, description="Pods of the running attempt.")
    preparation: Preparation | None = Field(default=None, description="What was found before GPUs were taken.")
    exported_model: Annotated[str, Field(max_length=4096)] | None = Field(
        default=None, description="Folder of the merged model, beside the adapter."
    )
    progress: Progress | None = Field(default=None, description="How far the running attempt is.")
    start_time: Time | None = Field(default=None, description="When the operator accepted the job.")
    admitted_time: Time | None = Field(default=None, description="First admission; the deadline counts from here.")
    queue: Queue | None = Field(default=None, description="Where the job stands in its queue.")
    completion_time: Time | None = Field(default=None, description="When the job ended, either way.")
    output_dir: Annotated[str, Field(max_length=4096)] | None = Field(
        default=None, description="Where the results lie: claim and folder."
    )
