"""What the operator decided: about the run, and about what comes before it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from finetune_trainer.records.names import ENV_NODES, ENV_POLICY
from finetune_trainer.records.record import Record

_POLICY = frozenset(
    {"launcher", "hang_timeout_seconds", "grace_seconds", "checkpoint_seconds", "keep_checkpoint_seconds"}
    | {"network_device", "min_memlock", "progress_url"}
)
"""Fields that change nothing of what is trained."""


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

    @classmethod
    def of_attempt(cls, text: str, environment: Mapping[str, str]) -> RunSpec:
        """run.json, on the nodes and under the policy of this attempt.

        Raises:
            ValueError: as `from_json`.
        """
        frozen = cls.from_json(text)
        policy = json.loads(environment.get(ENV_POLICY, "{}"))
        nodes = int(environment.get(ENV_NODES, frozen.nodes))
        return dataclasses.replace(frozen, nodes=nodes, **{name: policy[name] for name in _POLICY & policy.keys()})

    def policy(self) -> str:
        """What `of_attempt` takes from the environment: how the run is watched, saved, started and ended."""
        return json.dumps({name: getattr(self, name) for name in sorted(_POLICY)})

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
