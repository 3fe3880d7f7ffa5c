"""The world of ranks: joining it, checking that it is the one the job said, and the few words ranks exchange.

Law: the only room that starts torch.distributed or DeepSpeed's communication. Gradients are not its business.
"""

from __future__ import annotations

import datetime
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import distributed

from finetune_trainer.context import RunContext
from finetune_trainer.failures import DeviceMissing, WorldSizeMismatch
from finetune_trainer.members import Member, check_members


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """This rank among the others. Its words travel over gloo on the CPU, so that they never wait for a GPU's queue."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    group: distributed.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Rank 0: writes files and speaks to people."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.group is not None:
            distributed.barrier(group=self.group)

    def sum(self, *values: float) -> list[float]:
        """Each value summed over all ranks, in float64."""
        if self.group is None:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(total, group=self.group)
        return [float(value) for value in total]

    def any(self, wish: bool) -> bool:  # noqa: FBT001 - the wish is all there is to say
        """Whether any rank wishes it."""
        return self.sum(float(wish))[0] > 0

    def gather(self, value: Any) -> list[Any]:  # noqa: ANN401 - whatever can be pickled
        """The value of every rank, by rank."""
        if self.group is None:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value, group=self.group)
        return values

    @contextmanager
    def first(self, *, shared: bool) -> Iterator[bool]:
        """Rank 0 (or each node's first rank when the file system is not shared) goes first, the others follow.

        Used around work whose result is cached on disk; says whether this rank went first. If the first one fails,
        the others learn it from the connection that closes.
        """
        goes_first = self.rank == 0 if shared else self.local_rank == 0
        if not goes_first:
            self.barrier()
        yield goes_first
        if goes_first:
            self.barrier()


def join(
    context: RunContext,
    *,
    use_cpu: bool,
    deepspeed: bool,
    timeout: datetime.timedelta,
    keys: Mapping[str, str] = MappingProxyType({}),
) -> World:
    """Join the other ranks and check that they are the ones that the job said.

    Args:
        context: who this rank is.
        use_cpu: train on the CPU also where there are GPUs.
        deepspeed: whether DeepSpeed trains.
        timeout: for whatever ranks say to each other.
        keys: of train.yaml, and a short name for each one's value, which all ranks must share.

    Raises:
        WorldSizeMismatch: the launcher started another number of ranks.
        WorldMixed: ranks of another attempt or job are among them, or two of them have one GPU.
        WorldDiffers: ranks run other versions, or other values of a key.
        DeviceMissing: a rank has no GPU although the job gave it one.
    """
    _check_size(context.place.world_size, context)
    _check_devices(context)
    _share_cores(context)
    on_gpu = torch.cuda.is_available() and not use_cpu
    if on_gpu:
        torch.cuda.set_device(context.place.local_rank)
    if deepspeed:
        _join_with_deepspeed("nccl" if on_gpu else "gloo", timeout)
    elif context.place.world_size > 1:
        distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=timeout)
    if not distributed.is_initialized():
        return World()
    group = distributed.new_group(backend="gloo", timeout=timeout)
    world = World(
        rank=distributed.get_rank(),
        size=distributed.get_world_size(),
        local_rank=context.place.local_rank,
        group=group,
    )
    _check_size(world.size, context)
    check_members(world.gather(Member.of(context, keys, on_gpu=on_gpu)))
    return world


def leave(world: World) -> None:
    """Meet the others once more, then close the connections: the first rank's exit would end the others."""
    world.barrier()
    if world.group is not None:
        distributed.destroy_process_group()


def _check_size(size: int, context: RunContext) -> None:
    expected = context.expected_world_size
    if expected is None or size == expected:
        return
    said = f" (nodes {context.nodes} x processes {context.processes_per_node})" if context.nodes else ""
    raise WorldSizeMismatch(
        f"this rank joined a world of {size}, the job said {expected}{said}. Training would run as {size}-rank copies "
        "beside each other, so it is refused: check that the launcher got the node count and the master's address"
    )


def _check_devices(context: RunContext) -> None:
    """A pod whose driver or device plugin is broken would train on its CPUs, for months."""
    wanted = context.place.local_world_size if context.gpus_per_node else 0
    seen = torch.cuda.device_count()
    if seen < wanted:
        raise DeviceMissing(
            f"the job gives each node {context.gpus_per_node} GPUs for {wanted} ranks, torch sees {seen} here: check "
            "the node's driver and device plugin, and that the image's torch is built for it"
        )


def _join_with_deepspeed(backend: str, timeout: datetime.timedelta) -> None:
    """DeepSpeed's own communication must be up before the model loads: under ZeRO-3 it is loaded in shards."""
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    if "RANK" not in os.environ:  # without a launcher DeepSpeed would look for MPI
        os.environ.update(alone, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(_free_port()))
    import deepspeed
    import deepspeed.ops

    if backend == "gloo" and not shutil.which("c++") and not shutil.which("g++"):
        # a shared-memory shortcut that is compiled at start; without it gloo does the work
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend=backend, timeout=timeout, verbose=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _share_cores(context: RunContext) -> None:
    """torchrun tells several ranks of a node to use one thread each, whatever the cores; alone, the user is heard."""
    if context.place.local_world_size == 1 and "OMP_NUM_THREADS" in os.environ:
        return
    torch.set_num_threads(max(1, _cores() // context.place.local_world_size))


def _cores() -> int:
    """Cores that this container may use: a pod's limit is not visible in the CPU count."""
    cores = len(os.sched_getaffinity(0))
    limit = Path("/sys/fs/cgroup/cpu.max")
    quota, _, period = limit.read_text().partition(" ") if limit.exists() else ("max", "", "")
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))
