"""Pure: LLaMA-Factory's launcher variables -> a torchrun, or none."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence

from finetune_trainer.supervise import launch
from finetune_trainer.supervise.launch import Place

_TRUE = ("true", "y", "1")
_OTHER_LAUNCHERS = {
    "USE_RAY": "Ray is not supported; unset it, and set NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT for several nodes",
    "USE_MCA": "Megatron is not supported; unset it, and set deepspeed: zero3 to share the weights between ranks",
    "USE_MEGATRON_BRIDGE": "Megatron is not supported; unset it, and set deepspeed: zero3 to share the weights",
    "USE_KT": "KTransformers is not supported; unset it, and set deepspeed: zero3_offload to keep weights on the CPU",
    "USE_V1": "LLaMA-Factory's second generation is not supported; unset it, and write its first generation's keys",
}
"""LLaMA-Factory's variables that start a run by other means -> why not, and what to do."""
SAVE_SECONDS = "300"
"""torchrun kills its ranks this long after Ctrl-C: they save a checkpoint first."""


def is_rank(environment: Mapping[str, str]) -> bool:
    """Whether a launcher started this process."""
    return "LOCAL_RANK" in environment


def torchrun(environment: Mapping[str, str], words: Sequence[str], devices: Callable[[], int]) -> list[str] | None:
    """The torchrun that FORCE_TORCHRUN, NNODES, NODE_RANK, NPROC_PER_NODE, MASTER_ADDR and MASTER_PORT ask for.

    Each rank reads `words`, the command line of this process, again. `devices` counts the visible GPUs, where
    NPROC_PER_NODE does not say how many processes there should be. None: one process on one node needs no launcher,
    and a rank has one already.

    Raises:
        ValueError: a variable is no number, or several nodes have no place to meet.
    """
    for name, instead in _OTHER_LAUNCHERS.items():
        if environment.get(name, "").lower() in _TRUE:
            raise ValueError(f"{name}: {instead}")
    if is_rank(environment):
        return None
    if environment.get("RDZV_ID"):
        raise ValueError("RDZV_ID: elastic training is not supported; set NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT")
    nodes = _number(environment, "NNODES") or 1
    processes = _number(environment, "NPROC_PER_NODE") or max(1, devices())
    if nodes * processes == 1 and environment.get("FORCE_TORCHRUN", "").lower() not in _TRUE:
        return None
    return launch.torchrun(nodes, processes, _place(environment, nodes), ("finetune_trainer.cli", "train", *words))


def environment_of_ranks(environment: Mapping[str, str]) -> dict[str, str]:
    """Without PET_*, which torchrun would read as its own flags; with the thread count that it would warn of."""
    kept = {name: value for name, value in environment.items() if not name.startswith("PET_")}
    return {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": SAVE_SECONDS, "OMP_NUM_THREADS": "1"} | kept


def _place(environment: Mapping[str, str], nodes: int) -> Place:
    missing = [name for name in ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in environment]
    if nodes > 1 and missing:
        raise ValueError(f"NNODES is {nodes}, but {', '.join(missing)} not set: the nodes would not find each other")
    return Place(
        node_rank=_number(environment, "NODE_RANK") or 0,
        master_addr=environment.get("MASTER_ADDR", "127.0.0.1"),
        master_port=_number(environment, "MASTER_PORT") or _free_port(),
    )


def _number(environment: Mapping[str, str], name: str) -> int | None:
    said = environment.get(name)
    if said is not None and not said.isdecimal():
        raise ValueError(f"{name} is {said!r}: write a number")
    return None if said is None else int(said)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
