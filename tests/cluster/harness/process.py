"""Starting and ending the cluster's processes.

Each is put into a cgroup of its own before it runs. The cgroup, not a list of process ids, says what belongs to it: it
has the children, too, no id in it can be reused by somebody else, and it outlives the one who started it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .layout import CGROUP
from .waiting import ClusterError, until

CGROUPS = Path("/sys/fs/cgroup")
TREE = CGROUPS / "pids" / CGROUP
"""The hierarchy that holds all processes; the other hierarchies only hold pods."""
_JOIN_AND_RUN = 'echo $$ > "$0"/cgroup.procs && exec setsid --fork "$@"'


def hierarchies() -> list[Path]:
    """The mounted cgroup hierarchies, version 2's `unified` among them; a name that links to another is left out."""
    folders = [folder for folder in CGROUPS.iterdir() if not folder.is_symlink()]
    return [folder for folder in folders if (folder / "cgroup.procs").exists()]


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """A process of the cluster, such as the API server or a node's kubelet."""

    name: str
    log: Path
    node: str | None = None

    @property
    def cgroup(self) -> Path:
        return TREE / (self.node or "host") / "system" / self.name

    def pids(self) -> list[int]:
        """The processes in its cgroup; none when it does not run."""
        with suppress(FileNotFoundError):
            return [int(pid) for pid in (self.cgroup / "cgroup.procs").read_text().split()]
        return []

    def alive(self) -> bool:
        return bool(self.pids())

    def start(
        self,
        argv: Sequence[str | Path],
        *,
        netns: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it, detached from us, with its output appended to its log."""
        self.cgroup.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        # nsenter, not `ip netns exec`: the latter mounts a new /sys, and the cgroup hierarchies vanish
        enter = ["nsenter", f"--net=/run/netns/{netns}", "--"] if netns else []
        with self.log.open("ab") as log:
            subprocess.run(
                ["sh", "-c", _JOIN_AND_RUN, self.cgroup, *enter, *argv],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )

    def stop(self, *, grace: float = 10) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + grace
        while self.alive() and time.monotonic() < end:
            time.sleep(0.05)
        kill(self.cgroup)


def kill(tree: Path, *, limit: float = 60) -> None:
    """SIGKILL all processes in a cgroup and below it, until none is left, and remove the cgroups.

    Raises:
        ClusterError: processes are left after `limit` seconds.
    """
    end = time.monotonic() + limit
    while pids := members(tree):
        if time.monotonic() > end:
            raise ClusterError(f"processes {sorted(pids)} in {tree} do not end")
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    remove_cgroups(tree)


def members(tree: Path) -> set[int]:
    """The processes in a cgroup and below it."""
    pids: set[int] = set()
    for procs in tree.rglob("cgroup.procs") if tree.exists() else ():
        with suppress(FileNotFoundError, OSError):
            pids |= {int(pid) for pid in procs.read_text().split()}
    return pids


def remove_cgroups(tree: Path) -> None:
    """Remove a cgroup and all below it, whose processes have ended or are about to."""
    for folder, _, _ in os.walk(tree, topdown=False):
        until(f"the end of cgroup {folder}", partial(_removed, Path(folder)), limit=30)


def _removed(folder: Path) -> bool:
    with suppress(FileNotFoundError):
        folder.rmdir()
    return True


def command(*argv: str | Path, stdin: str | None = None) -> str:
    """Run a short command and return what it prints.

    Raises:
        ClusterError: it failed; the message has its output.
    """
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        said = f"{done.stdout}{done.stderr}".rstrip()
        raise ClusterError(f"{' '.join(map(str, argv))}: exit code {done.returncode}\n{said}")
    return done.stdout.strip()


def program(name: str) -> str:
    """The path of an installed program.

    Raises:
        ClusterError: it isn't there.
    """
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise ClusterError(f"{name} is not installed")
    return found
