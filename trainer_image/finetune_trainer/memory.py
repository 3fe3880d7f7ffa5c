"""How much memory a rank may still fill: of its GPU, or its share of the container's.

Law: reads counters, and nothing else.
"""

from __future__ import annotations

import re
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


def _left_of_group(group: Path) -> list[int]:
    """A pod's limit, without what is used; files that are merely cached can be dropped at any time."""
    limit, used, parts = (group / name for name in ("memory.max", "memory.current", "memory.stat"))
    if not limit.exists() or (most := limit.read_text().strip()) == "max":
        return []
    cached = re.search(r"^inactive_file (\d+)$", parts.read_text(), re.MULTILINE)
    return [int(most) - int(used.read_text()) + (int(cached[1]) if cached else 0)]
