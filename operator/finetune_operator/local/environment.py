"""Pure: the environment of one node's process: the rendered container's, and what the training operator would add."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_operator import names
from finetune_operator.render import Manifest
from finetune_trainer.records import ENV_RUN_DIR, ENV_TERMINATION_LOG

POD_ONLY = frozenset({"HOME"})
"""Variables that speak of the pod's file system and that this machine knows better."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One node of the job, before its process starts."""

    rank: int
    gpus: int
    folder: Path

    @property
    def run_dir(self) -> Path:
        """The pod's own folder: heartbeats, progress, the wish to stop."""
        return self.folder / f"node-{self.rank}"

    @property
    def termination_log(self) -> Path:
        """Where the supervisor leaves its outcome."""
        return self.folder / f"outcome-{self.rank}.json"

    @property
    def log(self) -> Path:
        """Standard output and error."""
        return self.folder / f"node-{self.rank}.log"


def container(pytorchjob: Manifest) -> Manifest:
    """The trainer's container, as rendered; Master and Worker have the same."""
    return trainer(pytorchjob["spec"]["pytorchReplicaSpecs"]["Master"]["template"])


def trainer(template: Manifest) -> Manifest:
    """The trainer's container of a pod's template."""
    found: Manifest = next(one for one in template["spec"]["containers"] if one["name"] == names.CONTAINER)
    return found


def of_container(container: Manifest, shell: Mapping[str, str]) -> dict[str, str]:
    """The shell's variables, and the container's over them."""
    variables = dict(shell)
    for entry in container.get("env", []):
        if "value" in entry and entry["name"] not in POD_ONLY:
            variables[entry["name"]] = _expanded(entry["value"], variables)
    return variables


def of(pytorchjob: Manifest, node: Node, *, port: int, shell: Mapping[str, str]) -> dict[str, str]:
    """The shell's variables, the container's, then the training operator's, as in a pod the last one winning."""
    variables = of_container(
        container(pytorchjob), {**shell, **_loopback(shell), **_own_gpus(pytorchjob, node, shell)}
    )
    variables |= _injected(pytorchjob, node.rank, port)
    return variables | {ENV_RUN_DIR: str(node.run_dir), ENV_TERMINATION_LOG: str(node.termination_log)}


def unknown(pytorchjob: Manifest, shell: Iterable[str]) -> tuple[str, ...]:
    """Variables that a cluster takes from a Secret, a ConfigMap or the pod, and that the shell lacks."""
    entries = container(pytorchjob).get("env", [])
    return tuple(entry["name"] for entry in entries if "valueFrom" in entry and entry["name"] not in shell)


def nodes(pytorchjob: Manifest) -> int:
    """Pods of the job."""
    return sum(replica["replicas"] for replica in pytorchjob["spec"]["pytorchReplicaSpecs"].values())


def _injected(pytorchjob: Manifest, rank: int, port: int) -> dict[str, str]:
    """As kubeflow/training-operator 1.9: RANK is the node's, WORLD_SIZE counts processes."""
    per_node, count = pytorchjob["spec"]["nprocPerNode"], nodes(pytorchjob)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return {
        "PYTHONUNBUFFERED": "1",
        **address,
        **{f"PET_{name}": value for name, value in address.items()},
        "WORLD_SIZE": str(count * int(per_node)),
        "RANK": str(rank),
        "PET_NODE_RANK": str(rank),
        "PET_NPROC_PER_NODE": per_node,
        "PET_NNODES": str(count),
    }


def _loopback(shell: Mapping[str, str]) -> dict[str, str]:
    """gloo looks up the host's own name, which a laptop without a network can't resolve."""
    return {} if "GLOO_SOCKET_IFNAME" in shell else {"GLOO_SOCKET_IFNAME": "lo"}


def _own_gpus(pytorchjob: Manifest, node: Node, shell: Mapping[str, str]) -> dict[str, str]:
    """Several nodes on one machine share its GPUs: each sees its own."""
    if node.gpus == 0 or nodes(pytorchjob) == 1 or "CUDA_VISIBLE_DEVICES" in shell:
        return {}
    first = node.rank * node.gpus
    return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(first, first + node.gpus)))}


def _expanded(value: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` as the kubelet expands it; an unknown name stays as it is."""
    return re.sub(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)", lambda found: variables.get(found[1], found[0]), value)
