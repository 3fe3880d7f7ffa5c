"""How much memory a rank may still fill, and how much it has filled: of its GPU, or of the container's.

Law: reads counters, and nothing else.
"""

from __future__ import annotations

import re
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch

GROUP = Path("/sys/fs/cgroup")
"""The container's own group, as it sees it (cgroup v2)."""


def free(device: torch.device, *, sharers: int) -> int | None:
    """Bytes that are free for this rank.

    Args:
        device: where it trains.
        sharers: ranks on this machine, which share its main memory; each has a GPU of its own.

    Returns:
        None for devices that do not say.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return None
    left = [int(psutil.virtual_memory().available), *_left_of_group(GROUP)]
    return min(left) // sharers


@dataclass(frozen=True, kw_only=True, slots=True)
class Used:
    """Bytes that this process held at most, so far."""

    peak: int
    """Taken from its GPU by PyTorch, or resident in main memory."""
    allocated: int | None = None
    """Of those of a GPU, what lay in tensors; the rest was between them."""
    total: int | None = None
    """What the GPU has."""


def used() -> Used:
    """Of the GPU where this process has one in use, else of main memory. Waits for nothing."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's own
        return Used(
            peak=torch.cuda.max_memory_reserved(),
            allocated=torch.cuda.max_memory_allocated(),
            total=int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory),
        )
    unit = 1 if sys.platform == "darwin" else 1024
    return Used(peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def gpu(device: torch.device) -> str | None:
    """The name of a rank's GPU; None: it trains on something else."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def _left_of_group(group: Path) -> list[int]:
    """A pod's limit, without what is used; files that are merely cached can be dropped at any time."""
    limit, used, parts = (group / name for name in ("memory.max", "memory.current", "memory.stat"))
    if not limit.exists() or (most := limit.read_text().strip()) == "max":
        return []
    cached = re.search(r"^inactive_file (\d+)$", parts.read_text(), re.MULTILINE)
    return [int(most) - int(used.read_text()) + (int(cached[1]) if cached else 0)]
