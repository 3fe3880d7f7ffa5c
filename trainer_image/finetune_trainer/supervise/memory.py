"""Did the kernel kill a process of this pod for memory?"""

from __future__ import annotations

import re
from pathlib import Path

COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
"""Of cgroup v2 and v1, as a container sees its own group."""


def kills(counters: tuple[Path, ...] = COUNTERS) -> int:
    """Processes of this group that the kernel killed for memory so far; 0 where it does not say."""
    for file in counters:
        if file.exists() and (found := re.search(r"^oom_kill (\d+)$", file.read_text(), re.MULTILINE)):
            return int(found[1])
    return 0
