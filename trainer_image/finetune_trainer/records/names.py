"""Names of files and variables, and the reasons that the operator weighs."""

from __future__ import annotations

CONTRACT_VERSION = 1
"""Raised when train.yaml, run.json or the files below change their meaning; the trainer refuses any other version."""

# Files of the configuration folder (a ConfigMap in a pod).
CONFIG_DIR = "/etc/finetune"
TRAIN_FILE = "train.yaml"
DEEPSPEED_FILE = "ds.json"
DATASET_INFO_FILE = "dataset_info.json"
RUN_FILE = "run.json"
PREPARE_FILE = "prepare.json"
INTAKE_CA_FILE = "intake-ca.crt"
"""Certificates by which the operator's intake is known; public."""
HOSTFILE = "hostfile"

# Variables that the operator (or `finetune run`) sets beside those of the training operator (PET_*, MASTER_*).
ENV_CONFIG_DIR = "FINETUNE_CONFIG_DIR"
ENV_ATTEMPT = "FINETUNE_ATTEMPT"
ENV_NODES = "FINETUNE_NODES"
"""Nodes of this attempt, where they are not run.json's, which is frozen at attempt 1."""
ENV_POLICY = "FINETUNE_POLICY"
"""What of run.json this attempt has otherwise, as JSON: an edit of these takes effect with the next attempt."""
ENV_RUN_DIR = "FINETUNE_RUN_DIR"
"""A folder of this pod alone: heartbeats, progress, the wish to stop. Ranks and supervisor meet there."""
ENV_WORLD_SIZE = "FINETUNE_WORLD_SIZE"
"""How many ranks the job said there would be; set by the supervisor for its ranks."""
ENV_TERMINATION_LOG = "FINETUNE_TERMINATION_LOG"
ENV_CA_FILE = "FINETUNE_PROGRESS_CA_FILE"
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
EXPORT_FILE = "exported.json"
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

EXPORT_DIR = "merged"
"""In <output_dir>: base and adapter as one model."""

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

EXIT_AGAIN = 75
"""Of `finetune prepare` and `finetune fetch` (EX_TEMPFAIL of sysexits.h): another process may do better."""
EXIT_LASTING = 2
"""Of the same: a mistake that stays one, and the Job ends with it."""
TERMINATION_LIMIT = 4096
"""Bytes of a termination message that the kubelet keeps."""
