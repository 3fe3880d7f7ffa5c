"""What must be known to put the machine back as it was.

Written before the machine is changed, and read by `down` after any crash.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from .layout import Layout, Node

SYSCTLS = (
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""Settings of the whole machine that we (the first) or the kubelets (the others) change."""
FIXED_FOLDERS = (
    "/run/containerd",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/tmp/k8s-webhook-server",
    "/visibility",
)
"""Where containerd, the CNI plugins, the kubelet, the training operator and Kueue write, whatever we tell them."""
_PROC_SYS = Path("/proc/sys")


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """One cluster on this machine."""

    nodes: int
    kept: bool
    """Brought up by a person; test sessions use it and leave it."""
    complete: bool = False
    """`up` came to its end."""
    sysctls: dict[str, str] = field(default_factory=dict)
    new_folders: list[str] = field(default_factory=list)
    """Those of FIXED_FOLDERS that weren't there before."""

    def members(self) -> list[Node]:
        return [Node(number=number) for number in range(1, self.nodes + 1)]


def load(layout: Layout) -> State | None:
    """The state of the cluster that is, or was, on this machine; None when it was taken down."""
    with suppress(FileNotFoundError):
        return State(**json.loads((layout.state / "state.json").read_text()))
    return None


def save(layout: Layout, state: State) -> None:
    """Write the state, so that a crash leaves the old or the new one."""
    layout.state.mkdir(parents=True, exist_ok=True)
    draft = layout.state / "state.json.new"
    with draft.open("w") as file:
        json.dump(asdict(state), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(layout.state / "state.json")


def sysctls() -> dict[str, str]:
    """The present values of the settings that will be changed."""
    return {name: (_PROC_SYS / name).read_text().strip() for name in SYSCTLS if (_PROC_SYS / name).exists()}


def missing_folders() -> list[str]:
    """Those of FIXED_FOLDERS that are not there: nobody else uses them."""
    return [folder for folder in FIXED_FOLDERS if not Path(folder).exists()]


def restore(values: dict[str, str]) -> None:
    """Write settings back."""
    for name, value in values.items():
        with suppress(PermissionError):
            (_PROC_SYS / name).write_text(value)


@contextmanager
def changing(layout: Layout) -> Iterator[None]:
    """Hold the cluster's lock while it's brought up or down; waits for others."""
    layout.state.mkdir(parents=True, exist_ok=True)
    with (layout.state / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def join(layout: Layout) -> IO[str]:
    """Become a user of the cluster, until the returned file is closed or the process ends, however it ends."""
    layout.state.mkdir(parents=True, exist_ok=True)
    file = (layout.state / "users").open("w")
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def in_use(layout: Layout) -> bool:
    """Whether a test session uses the cluster right now."""
    layout.state.mkdir(parents=True, exist_ok=True)
    with (layout.state / "users").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
