"""What every rank of a node is doing, seen from outside: a stopped process cannot tell it itself."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata

import psutil  # type: ignore[import-untyped]

SECONDS = 10.0
"""For one rank's stacks; py-spy needs a tenth of a second."""
_PR_SET_PTRACER = 0x59616D61
_ANY = ctypes.c_ulong(-1)


@dataclass(frozen=True, kw_only=True, slots=True)
class RankStacks:
    """One rank, as it was found."""

    rank: int
    state: str
    """The kernel's word for it: running, sleeping, stopped, disk-sleep, zombie."""
    text: str
    """The stacks of all its threads, or why they could not be taken."""

    @property
    def is_stopped(self) -> bool:
        """Somebody sent it SIGSTOP, or holds it in a debugger."""
        return self.state in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)

    @property
    def main_thread(self) -> str:
        """The stack that a person looks at first."""
        threads = self.text.split("\n\n")
        return next((one for one in threads if '"MainThread"' in one), threads[0])


def permit() -> None:
    """Let other processes of this user look into this rank: Yama (ptrace_scope 1) allows it to ancestors alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PTRACER, _ANY, 0, 0, 0)


def take(processes: Iterable[psutil.Process]) -> tuple[RankStacks, ...]:
    """Of every rank among these processes, by rank. Its workers have its variables too: the eldest is the rank."""
    ranks: dict[int, psutil.Process] = {}
    for process in sorted(processes, key=_age):
        with suppress(psutil.Error, KeyError, ValueError):
            ranks.setdefault(int(process.environ()["RANK"]), process)
    return tuple(_look(rank, process) for rank, process in sorted(ranks.items()))


def text(found: Iterable[RankStacks]) -> str:
    """All of them, for a file."""
    return "\n".join(f"rank {one.rank} ({one.state})\n{one.text}\n" for one in found)


def _age(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        return float(process.create_time())
    return float("inf")


def _look(rank: int, process: psutil.Process) -> RankStacks:
    try:
        return RankStacks(rank=rank, state=str(process.status()), text=_dump(process.pid))
    except psutil.Error as error:
        return RankStacks(rank=rank, state="gone", text=str(error))


def _dump(pid: int) -> str:
    """Without stopping the process: py-spy cannot stop one that is stopped already."""
    try:
        command = [_py_spy(), "dump", "--nonblocking", "--pid", str(pid)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired, metadata.PackageNotFoundError) as error:
        return f"no stacks: {error}"
    if done.returncode != 0:
        return f"no stacks: {done.stderr.strip()}"
    _, *threads = done.stdout.split("\nThread ")  # before them stands the command line
    return "\n\n".join(f"Thread {one.strip()}" for one in threads)


def _py_spy() -> str:
    """Its wheel holds a program, wherever that was installed to.

    Raises:
        PackageNotFoundError: nowhere.
    """
    files = metadata.files("py-spy") or ()
    return next((str(file.locate()) for file in files if file.name == "py-spy"), "py-spy")
