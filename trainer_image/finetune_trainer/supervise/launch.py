"""Pure: run.json and the pod's environment -> the launcher's command and environment."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from finetune_trainer import records
from finetune_trainer.records import RunSpec
from finetune_trainer.supervise import recorder
from finetune_trainer.supervise.outcome import Refused

RANK = ("finetune_trainer.cli", "train", "--in-job")
"""Module and arguments of one rank."""

_REPLACED = frozenset(
    {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "MASTER_ADDR", "MASTER_PORT"}
    | {"NNODES", "NODE_RANK", "NPROC_PER_NODE", "FORCE_TORCHRUN"}
)
"""Node-wide values of the training operator and of LLaMA-Factory's launcher; a rank must not meet them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pod:
    """What the pod's environment says about itself, before run.json is read."""

    config_dir: Path
    run_dir: Path
    attempt: int
    node_rank: int
    """As the training operator says, unchecked; 0 where it says nothing of use."""
    token_file: Path | None
    ca_file: Path | None
    """By what the operator's intake is known; None: by the authorities of the image."""
    termination_log: Path | None
    """Where the outcome goes for the kubelet; None: /dev/termination-log, where there is one."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Pod:
        """Read our own variables; all have a default but the token's file."""
        token_file = environment.get(records.ENV_TOKEN_FILE)
        ca_file = environment.get(records.ENV_CA_FILE)
        termination_log = environment.get(records.ENV_TERMINATION_LOG)
        rank = environment.get("PET_NODE_RANK", "0")
        return cls(
            config_dir=Path(environment.get(records.ENV_CONFIG_DIR, records.CONFIG_DIR)),
            run_dir=Path(environment.get(records.ENV_RUN_DIR, "/run/finetune")),
            attempt=int(environment.get(records.ENV_ATTEMPT, "1")),
            node_rank=int(rank) if rank.isdecimal() else 0,
            token_file=Path(token_file) if token_file else None,
            ca_file=Path(ca_file) if ca_file else None,
            termination_log=Path(termination_log) if termination_log else None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """This node among the nodes of the run, and where they meet."""

    node_rank: int
    master_addr: str
    master_port: int


def place(run: RunSpec, environment: Mapping[str, str]) -> Place:
    """This pod's place in the run, if the training operator started what run.json asks for.

    Raises:
        Refused: WorldSizeMismatch, where nodes or processes differ, or the pod's rank isn't among them.
    """
    _expect("PET_NNODES", environment, run.nodes, "nodes", optional=run.nodes == 1)
    _expect("PET_NPROC_PER_NODE", environment, run.processes_per_node, "processes per node", optional=run.nodes == 1)
    rank = environment.get("PET_NODE_RANK", "0" if run.nodes == 1 else "nothing")
    if not rank.isdecimal() or int(rank) >= run.nodes:
        raise Refused("WorldSizeMismatch", f"PET_NODE_RANK is {rank}, run.json has nodes 0 to {run.nodes - 1}")
    return Place(
        node_rank=int(rank),
        master_addr=environment.get("PET_MASTER_ADDR") or environment.get("MASTER_ADDR") or "127.0.0.1",
        master_port=int(environment.get("PET_MASTER_PORT") or environment.get("MASTER_PORT") or 29500),
    )


def _expect(name: str, environment: Mapping[str, str], expected: int, what: str, *, optional: bool) -> None:
    said = environment.get(name, str(expected) if optional else "(not set)")
    if said != str(expected):
        raise Refused("WorldSizeMismatch", f"run.json says {expected} {what}, the pod was started with {name}={said}")


def command(run: RunSpec, where: Place, config_dir: Path, rank: Sequence[str] = RANK) -> list[str]:
    """The launcher of this node's ranks."""
    if run.launcher == "deepspeed":
        return deepspeed(where, config_dir / records.HOSTFILE, rank)
    return torchrun(run.nodes, run.processes_per_node, where, rank)


def torchrun(nodes: int, processes: int, where: Place, rank: Sequence[str]) -> list[str]:
    """Static rendezvous, no restarts: all ranks of all nodes start again together or not at all."""
    return [
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--nnodes", str(nodes), "--nproc-per-node", str(processes), "--node-rank", str(where.node_rank)),
        *("--master-addr", where.master_addr, "--master-port", str(where.master_port), "--max-restarts", "0"),
        *("-m", *rank),
    ]


def deepspeed(where: Place, hostfile: Path, rank: Sequence[str]) -> list[str]:
    """DeepSpeed's own launcher without ssh: every pod starts its own ranks, the hostfile says how many there are."""
    return [
        *(sys.executable, "-m", "deepspeed.launcher.runner", "--hostfile", str(hostfile), "--no_ssh"),
        *("--node_rank", str(where.node_rank), "--master_addr", where.master_addr),
        *("--master_port", str(where.master_port), "--no_local_rank", "--module", *rank),
    ]


def environment_of_ranks(run: RunSpec, pod: Pod, environment: Mapping[str, str]) -> dict[str, str]:
    """The pod's environment for the launcher.

    PET_* go, because torchrun reads them as its own flags. The shutdown time is a variable and not a flag, because
    older torchruns refuse the flag. DeepSpeed's launcher does not say LOCAL_WORLD_SIZE, so it is said here.
    """
    kept = {
        name: value for name, value in environment.items() if name not in _REPLACED and not name.startswith("PET_")
    }
    if "PYTORCH_ALLOC_CONF" not in kept:
        kept.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    if run.processes_per_node > 1:
        kept.setdefault("OMP_NUM_THREADS", "1")  # torchrun's own value, which it would warn of
    kept |= recorder.environment(pod.run_dir, kept, gpu=run.gpus_per_node > 0)
    return kept | {
        records.ENV_CONFIG_DIR: str(pod.config_dir),
        records.ENV_RUN_DIR: str(pod.run_dir),
        records.ENV_ATTEMPT: str(pod.attempt),
        records.ENV_WORLD_SIZE: str(run.world_size),
        "LOCAL_WORLD_SIZE": str(run.processes_per_node),
        "DISABLE_KUBEFLOW_INTEGRATION": "TRUE",
        "PYTHONUNBUFFERED": "1",
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "10",
    }
