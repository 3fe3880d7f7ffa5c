"""RunContext: who and where this rank is; from run.json and the environment in a job, from train.yaml by hand.

Law: values only; reads run.json and the environment once, at the door. Knows no torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_trainer import records
from finetune_trainer.config import TrainConfig
from finetune_trainer.records import RunSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where the launcher put this process among the others."""

    rank: int = 0
    local_rank: int = 0
    local_world_size: int = 1
    world_size: int = 1
    """Of the launcher's environment; what the rank really joined is checked against the job's."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Place:
        """From torchrun's or DeepSpeed's variables; without a launcher, alone."""
        return cls(
            rank=int(environ.get("RANK", "0")),
            local_rank=int(environ.get("LOCAL_RANK", "0")),
            local_world_size=int(environ.get("LOCAL_WORLD_SIZE", "1")),
            world_size=int(environ.get("WORLD_SIZE", "1")),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunContext:
    """What a rank knows before it has joined the others."""

    output_dir: Path
    """Absolute; everything that the run writes lies under it."""
    run_dir: Path | None = None
    """Where the pod's supervisor reads heartbeats and writes the wish to stop; None: nobody supervises."""
    uid: str = ""
    """The job's uid; empty without a job."""
    spec_hash: str = ""
    """Empty without a job: such a run is never taken for done."""
    attempt: int = 1
    overwrite_output_dir: bool = False
    nodes: int | None = None
    """Nodes that the job said; None: nobody said how large the world should be."""
    processes_per_node: int | None = None
    expected_world_size: int | None = None
    checkpoint_seconds: int = 0
    """See RunSpec."""
    keep_checkpoint_seconds: int = 0
    gpus_per_node: int = 0
    """GPUs that the job gave each node; 0: none, or nobody said."""
    data_prepared: bool = False
    """The job's preparation has made tokens of the data."""
    place: Place

    @property
    def state_dir(self) -> Path:
        """Our own records on the volume: fence, completion, outcomes."""
        return self.output_dir / records.STATE_DIR

    @property
    def is_job(self) -> bool:
        """Whether an operator, or `finetune run`, started this run."""
        return bool(self.uid)


def read(cfg: TrainConfig, environ: Mapping[str, str] | None = None) -> RunContext:
    """The context of this process: a job's rank when a supervisor started it, a run by hand otherwise.

    Raises:
        ValueError: run.json cannot be read, or speaks another version of the contract.
    """
    environ = os.environ if environ is None else environ
    if records.ENV_WORLD_SIZE in environ:
        path = Path(environ.get(records.ENV_CONFIG_DIR, records.CONFIG_DIR)) / records.RUN_FILE
        return of_job(RunSpec.of_attempt(path.read_text(encoding="utf-8"), environ), environ)
    return of_hand(cfg, environ)


def of_job(spec: RunSpec, environ: Mapping[str, str]) -> RunContext:
    """The context of a job's rank.

    Raises:
        ValueError: run.json speaks another version of the contract than this image.
    """
    if spec.contract != records.CONTRACT_VERSION:
        raise ValueError(
            f"run.json speaks contract version {spec.contract}, this image speaks {records.CONTRACT_VERSION}: "
            "use the trainer image of the operator's release"
        )
    run_dir = environ.get(records.ENV_RUN_DIR)
    return RunContext(
        output_dir=Path(spec.output_dir),
        run_dir=Path(run_dir) if run_dir else None,
        uid=spec.uid,
        spec_hash=spec.spec_hash,
        attempt=int(environ.get(records.ENV_ATTEMPT, "1")),
        overwrite_output_dir=spec.overwrite_output_dir,
        nodes=spec.nodes,
        processes_per_node=spec.processes_per_node,
        expected_world_size=int(environ.get(records.ENV_WORLD_SIZE, spec.world_size)),
        checkpoint_seconds=spec.checkpoint_seconds,
        keep_checkpoint_seconds=spec.keep_checkpoint_seconds,
        gpus_per_node=spec.gpus_per_node,
        data_prepared=spec.data_prepared,
        place=Place.read(environ),
    )


def of_hand(cfg: TrainConfig, environ: Mapping[str, str]) -> RunContext:
    """The context of `finetune train config.yaml`: attempt 1, LLaMA-Factory's rules.

    Raises:
        ValueError: output_dir is not said.
    """
    if not cfg.training.output_dir:
        raise ValueError("output_dir: say where the result goes, e.g. output_dir: saves/my-model/lora/sft")
    return RunContext(
        output_dir=Path(cfg.training.output_dir).absolute(),
        overwrite_output_dir=bool(cfg.training.overwrite_output_dir),
        place=Place.read(environ),
    )
