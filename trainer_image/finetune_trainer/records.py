"""The records that operator, supervisor and trainer hand each other, and the names of their files and variables.

Law: standard library only; values with `to_json`/`from_json`, nothing that reads or writes a file.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar

CONTRACT_VERSION = 1
"""Raised when train.yaml, run.json or the files below change their meaning; the trainer refuses any other version."""

# Files of the configuration folder (a ConfigMap in a pod).
CONFIG_DIR = "/etc/finetune"
TRAIN_FILE = "train.yaml"
DEEPSPEED_FILE = "ds.json"
DATASET_INFO_FILE = "dataset_info.json"
RUN_FILE = "run.json"
PREPARE_FILE = "prepare.json"
HOSTFILE = "hostfile"

# Variables that the operator (or `finetune run`) sets beside those of the training operator (PET_*, MASTER_*).
ENV_CONFIG_DIR = "FINETUNE_CONFIG_DIR"
ENV_ATTEMPT = "FINETUNE_ATTEMPT"
ENV_RUN_DIR = "FINETUNE_RUN_DIR"
"""A folder of this pod alone: heartbeats, progress, the wish to stop. Ranks and supervisor meet there."""
ENV_WORLD_SIZE = "FINETUNE_WORLD_SIZE"
"""How many ranks the job said there would be; set by the supervisor for its ranks."""
ENV_TERMINATION_LOG = "FINETUNE_TERMINATION_LOG"
ENV_TOKEN_FILE = "FINETUNE_PROGRESS_TOKEN_FILE"  # noqa: S105 - a path's variable, not a secret

# Files of the run folder, written by the ranks, read by the supervisor of the same pod.
HEARTBEAT_FILE = "heartbeat-{local_rank}.json"
PROGRESS_FILE = "progress.json"
ERROR_FILE = "error-{rank}.json"
RESULT_FILE = "result.json"
STOP_FILE = "stop"
RECORDER_SOCKET = "recorder-{local_rank}.sock"
"""Where a rank tells its last collectives, over HTTP."""

# Files on the volume, under <output_dir>/.finetune/.
STATE_DIR = ".finetune"
FENCE_FILE = "fence.json"
COMPLETION_FILE = "complete.json"
OUTCOME_FILE = "outcome-{attempt}-{node_rank}.json"
STACKS_FILE = "stacks-{attempt}-{node_rank}.txt"
"""What every rank of a node was doing when it hung."""
COLLECTIVES_FILE = "collectives-{attempt}-rank{rank}.json"
"""Which collectives a rank had called when its node hung, by torch's flight recorder: of gloo."""
NCCL_FILE = "nccl-{attempt}-rank{rank}"
"""Of NCCL, as `torchfrtrace --prefix nccl-<attempt>-rank .` reads it."""
CHECKPOINT_MARK = "finetune.json"
"""Written last into checkpoint-N/: without it the checkpoint is not complete."""
CHECKPOINT_OPENED = "finetune-opened.json"
"""Written first, gone when it is complete: a Fence, which tells a later attempt whose half-written one this is."""
REMOVED_DIR = "removed"
"""In STATE_DIR: checkpoints on their way out. A rename takes them from view, whatever becomes of their removal."""

# Reasons that the operator weighs: the same trouble has another name on each node.
PEER_LOST = "PeerLost"
"""A rank saw another one disappear: true, but never the cause."""
HANG = "Hang"
"""A rank stands still; perhaps it only waits for one on another node."""
OUT_OF_MEMORY = "OutOfMemory"
"""A rank's GPU or its pod's memory was full: the same run would fill it again."""
RANK_STOPPED = "RankStopped"
"""A rank stands still because somebody stopped its process: the cause."""

MORE_MEMORY = (
    "raise spec.resources.memory, or lower per_device_train_batch_size or cutoff_len; delete the job and apply it "
    "again without overwrite_output_dir, and it goes on from its last checkpoint"
)
"""What to do about a pod's memory (not a GPU's); the same attempt again would end as this one did."""

TERMINATION_LIMIT = 4096
"""Bytes of a termination message that the kubelet keeps."""

Phase = Literal["fetching", "starting", "data", "model", "training", "evaluating", "saving"]
Result = Literal["succeeded", "failed", "stopped"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A value that travels as JSON; unknown keys of a newer writer are left out on reading."""

    def to_json(self) -> str:
        """One line of JSON with sorted keys."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: not JSON, not an object, or a field is missing.
        """
        raw = json.loads(text)
        if not isinstance(raw, dict):
            raise ValueError(f"{cls.__name__}: expected a JSON object")  # noqa: TRY004 - what a file says, not a type
        known = {field.name for field in dataclasses.fields(cls)}
        try:
            return cls(**{key: value for key, value in raw.items() if key in known})
        except TypeError as error:
            raise ValueError(f"{cls.__name__}: {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSpec(Record):
    """run.json: what the operator decided about the run, for the supervisor and every rank."""

    contract: int
    namespace: str
    job: str
    uid: str
    spec_hash: str
    nodes: int
    processes_per_node: int
    launcher: Literal["torchrun", "deepspeed"]
    output_dir: str
    """Absolute path; everything that the run writes lies under it."""
    overwrite_output_dir: bool
    """As the user wrote it; speaks about attempt 1 only."""
    hang_timeout_seconds: int
    grace_seconds: int
    gpus_per_node: int = 0
    """GPUs that each pod was given; a rank that can't see its own refuses to train on a CPU instead."""
    network_device: str | None = None
    """A path that the network between nodes needs in each pod."""
    min_memlock: int | None = None
    """Bytes that a rank may lock, at least; -1: unlimited; None: whatever the node gives."""
    checkpoint_seconds: int = 0
    """Save also when this much time has passed since the last save began; 0: never."""
    keep_checkpoint_seconds: int = 0
    """Of older checkpoints than save_total_limit keeps, one for each such period stays; 0: none."""
    progress_url: str | None = None
    """Where the supervisor posts progress; None: nowhere."""
    data_prepared: bool = False
    """The data lie as tokens in the cache already: overwrite_cache has had its say."""

    @property
    def world_size(self) -> int:
        """Ranks of the whole job."""
        return self.nodes * self.processes_per_node


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareSpec(Record):
    """prepare.json: what is to be done before GPUs are taken."""

    source: str | None
    """Of the model: hf://, ms://, s3://, http(s)://; None: train.yaml names a folder."""
    cache: str
    """Folder for fetched models."""
    data: bool
    """Tokenise the data."""
    gpu_memory: str | None = None
    """Of one GPU, as a quantity; None: nothing is said of what fits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparation(Record):
    """What a preparation found, or why it failed: the termination message of its pod."""

    result: Literal["succeeded", "failed"]
    reason: str
    message: str
    retryable: bool
    model: str | None = None
    """The fetched model's folder; None: nothing was fetched."""
    data: bool = False
    """The data lie as tokens where the ranks will look for them."""
    parameters: int | None = None
    memory: int | None = None
    """Bytes that one GPU needs, by the estimate; None: the model can't be sized."""
    fits: bool | None = None
    instead: str = ""
    """What would fit."""
    steps: int | None = None
    rows: int | None = None
    tokens: int | None = None

    def to_termination_message(self) -> str:
        """As JSON of at most `TERMINATION_LIMIT` bytes: the message's end gives way."""
        return _shortened(self).to_json()


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat(Record):
    """heartbeat-<local rank>.json: this rank is alive and this far. Times are Unix seconds."""

    time: float
    phase: Phase
    step: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress(Record):
    """progress.json, written by rank 0; the supervisor posts it, the operator shows it in status."""

    time: float
    phase: Phase
    step: int = 0
    total_steps: int = 0
    epoch: float = 0.0
    loss: float | None = None
    learning_rate: float | None = None
    tokens_per_second: float | None = None
    """Of all ranks together."""
    tokens_per_second_per_gpu: float | None = None
    """Of each rank, which has a GPU of its own; on CPUs of each rank, too."""
    mfu: float | None = None
    """Model FLOPs utilisation, 0 to 1: what the model needs for these tokens over what the GPUs could do."""
    peak_memory: int | None = None
    """Bytes that the fullest rank took at most: of its GPU, or of main memory."""
    remaining_seconds: int | None = None
    checkpoint_step: int | None = None
    checkpoint_path: str | None = None
    """Under output_dir; None where the checkpoint that the run began with lies elsewhere."""
    checkpoint_time: float | None = None
    """When it was complete; Unix seconds."""
    rows: int | None = None
    """Rows that were read, of all data sets; None until they are prepared, and when they are streamed."""
    rows_dropped: int | None = None
    rows_truncated: int | None = None
    rows_changed: int | None = None
    """Kept, but not as the file has them; data_report.json says which and why."""
    fetched_bytes: int | None = None
    """Of the model, in the cache; while it is fetched."""
    total_bytes: int | None = None
    bytes_per_second: float | None = None

    @property
    def percentage(self) -> int:
        """0 to 100 of the steps, or of the bytes while they are fetched; 100 only when the last one is done."""
        if self.total_bytes:
            return 100 * (self.fetched_bytes or 0) // self.total_bytes
        return 100 * self.step // self.total_steps if self.total_steps else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RankError(Record):
    """error-<rank>.json: why a rank gave up, in words for people."""

    rank: int
    reason: str
    """One of the reasons of `finetune_trainer.failures`; CamelCase."""
    message: str
    retryable: bool
    step: int = 0
    traceback: str = ""
    peak_memory: int | None = None
    """Bytes that the rank held at most when its memory was full: of its GPU, or of main memory; None otherwise."""
    allocated_memory: int | None = None
    """Of those of a GPU, what lay in tensors."""
    gpu_memory: int | None = None
    """What its GPU has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult(Record):
    """result.json, written by every local rank 0 at the very end: completed, or stopped after a save."""

    result: Literal["succeeded", "stopped"]
    step: int
    checkpoint_step: int | None = None
    train_loss: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome(Record):
    """How one pod's part of an attempt ended: the termination message, and outcome-<attempt>-<node>.json."""

    result: Result
    reason: str
    message: str
    retryable: bool
    attempt: int
    node_rank: int
    spec_hash: str
    rank: int | None = None
    """The first rank that failed, where that is known."""
    host: str = ""
    exit_code: int | None = None
    step: int | None = None
    checkpoint_step: int | None = None
    train_loss: float | None = None
    log_tail: str = ""

    def to_termination_message(self) -> str:
        """As JSON of at most `TERMINATION_LIMIT` bytes: the log's first lines give way, then the message's end."""
        shorter = self
        while shorter.log_tail and _is_too_long(shorter):
            shorter = dataclasses.replace(shorter, log_tail=shorter.log_tail[len(shorter.log_tail) // 4 + 1 :])
        return _shortened(shorter).to_json()


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion(Record):
    """complete.json: the run ended; a job with the same hash that is created again finds that it is done."""

    spec_hash: str
    attempt: int
    step: int
    train_loss: float | None
    finished: str
    """UTC, ISO 8601."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fence(Record):
    """fence.json: the attempt that owns the volume. A rank of an older one must not commit a checkpoint."""

    uid: str
    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointMark(Record):
    """finetune.json inside checkpoint-N/: complete, and whose it is."""

    uid: str
    spec_hash: str
    attempt: int
    step: int
    world_size: int
    global_batch: int | None = None
    """Rows of a step; None: written before this was."""
    rows_per_rank: int | None = None
    """Of a step, as train.yaml has them; ranks that were resized take more or fewer."""
    time: float = 0.0
    """When it was complete, in Unix seconds; 0: an older trainer did not say."""


_Told = TypeVar("_Told", Preparation, Outcome)


def _shortened(record: _Told) -> _Told:
    """With as much of the message as the kubelet keeps."""
    while _is_too_long(record):
        record = dataclasses.replace(record, message=record.message[: len(record.message) * 3 // 4])
    return record


def _is_too_long(record: Record) -> bool:
    return len(record.to_json().encode()) > TERMINATION_LIMIT


def to_kubeflow(progress: Progress) -> dict[str, Any]:
    """Progress in Kubeflow's status protocol (kubeflow/trainer: pkg/statusserver)."""
    values = {
        "step": progress.step,
        "total_steps": progress.total_steps,
        "epoch": progress.epoch,
        "loss": progress.loss,
        "learning_rate": progress.learning_rate,
        "tokens_per_second": progress.tokens_per_second,
        "tokens_per_second_per_gpu": progress.tokens_per_second_per_gpu,
        "mfu": progress.mfu,
        "peak_memory": progress.peak_memory,
        "checkpoint_step": progress.checkpoint_step,
        "checkpoint_path": progress.checkpoint_path,
        "checkpoint_time": progress.checkpoint_time,
        "rows": progress.rows,
        "rows_dropped": progress.rows_dropped,
        "rows_truncated": progress.rows_truncated,
        "rows_changed": progress.rows_changed,
        "fetched_bytes": progress.fetched_bytes,
        "total_bytes": progress.total_bytes,
        "bytes_per_second": progress.bytes_per_second,
        "phase": progress.phase,
        "time": progress.time,
    }
    metrics = [{"name": name, "value": str(value)} for name, value in values.items() if value is not None]
    return {
        "trainerStatus": {
            "progressPercentage": progress.percentage,
            "estimatedRemainingSeconds": progress.remaining_seconds,
            "metrics": metrics,
        }
    }
