"""What the network between nodes needs of this pod: its device, and memory that may be locked."""

from __future__ import annotations

import re
import resource
import socket
from pathlib import Path

from finetune_trainer.records import RunSpec
from finetune_trainer.supervise.outcome import Refused

_CAP_IPC_LOCK = 14
"""Number of the capability; who has it locks as much as it likes."""


def check(run: RunSpec) -> None:
    """The job's network profile can be had here; the soft limit of locked memory is raised to the hard one.

    Raises:
        Refused: NetworkDeviceMissing or MemlockTooLow.
    """
    if run.network_device is not None and not Path(run.network_device).exists():
        raise Refused("NetworkDeviceMissing", _no_device(run.network_device))
    if run.min_memlock is None or _may_lock_all(Path("/proc/self/status")):
        return
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if not suffices(hard, run.min_memlock):
        raise Refused("MemlockTooLow", _too_low(hard, run.min_memlock))
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))


def suffices(limit: int, wanted: int) -> bool:
    """Whether a limit of locked memory is at least what is wanted, in bytes; -1 is unlimited."""
    return limit == resource.RLIM_INFINITY or (wanted not in (-1, resource.RLIM_INFINITY) and limit >= wanted)


def _may_lock_all(status: Path) -> bool:
    """CAP_IPC_LOCK is in effect, as it is for root where a profile adds it."""
    found = re.search(r"^CapEff:\s+([0-9a-f]+)$", status.read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> _CAP_IPC_LOCK & 1)


def _no_device(path: str) -> str:
    return (
        f"there is no {path} in this pod ({socket.gethostname()}), and the job's network profile needs it: ask for "
        "the device plugin's resource in spec.resources.extra, e.g. rdma/hca: 1, or write network: {profile: tcp}"
    )


def _too_low(limit: int, wanted: int) -> str:
    return (
        f"this pod may lock {_bytes(limit)} of memory, the job's network profile needs {_bytes(wanted)}: set "
        "LimitMEMLOCK=infinity for the container runtime's systemd unit on the node (containerd.service; for CRI-O "
        'default_ulimits = ["memlock=-1:-1"]) and restart it; pods started after that have it'
    )


def _bytes(number: int) -> str:
    if number in (-1, resource.RLIM_INFINITY):
        return "an unlimited amount"
    return f"{number / 1024:,.0f} KiB" if number < 1 << 30 else f"{number / (1 << 30):,.0f} GiB"
