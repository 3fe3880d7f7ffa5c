"""The collective flight recorder of every rank of a node, asked from outside: which collectives they called last.

Over the socket that `finetune_trainer.recorder` opens, torch tells gloo's and NCCL's. Where that gives no NCCL, NCCL's
own way is tried: a byte into `<prefix><rank>.pipe` makes its monitor thread write `<prefix><rank>` within seconds
(torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp, `DumpPipe`), which it also does by itself before it ends a rank
whose collective timed out.
"""

from __future__ import annotations

import http.client
import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from finetune_trainer import records

log = logging.getLogger(__name__)

ASK_SECONDS = 3.0
"""For one rank; a healthy one answers in milliseconds."""
PIPE_SECONDS = 6.0
"""For all of them: NCCL's monitor thread looks at its pipe once a second."""
PIPE_PREFIX, DUMP_PREFIX = "nccl-", "nccl-trace-"
ENTRIES = "2000"
"""Collectives that are remembered, of each rank."""
_GLOO, _NCCL = "fr_trace_json", "dump_nccl_trace_pickle"
"""torch's handlers: the recorder of everything but NCCL, and NCCL's, in the form that `torchfrtrace` reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """What one rank's recorder gave."""

    rank: int
    nccl: bool
    content: bytes

    def name(self, attempt: int) -> str:
        """Of its file on the volume."""
        pattern = records.NCCL_FILE if self.nccl else records.COLLECTIVES_FILE
        return pattern.format(attempt=attempt, rank=self.rank)


def environment(run_dir: Path, said: Mapping[str, str], *, gpu: bool) -> dict[str, str]:
    """Pure: variables that ranks need for it, and that the pod does not say already.

    Without DUMP_ON_TIMEOUT NCCL's monitor thread looks at its pipe every eight minutes only. Two names for one thing:
    torch 2.8 and before knew the longer one.
    """
    wanted = {"TORCH_FR_BUFFER_SIZE": ENTRIES}
    if gpu:
        dump = str(run_dir / DUMP_PREFIX)
        wanted |= {
            "TORCH_NCCL_TRACE_BUFFER_SIZE": ENTRIES,
            "TORCH_NCCL_DUMP_ON_TIMEOUT": "1",
            "TORCH_NCCL_DEBUG_INFO_PIPE_FILE": str(run_dir / PIPE_PREFIX),
            "TORCH_FR_DUMP_TEMP_FILE": dump,
            "TORCH_NCCL_DEBUG_INFO_TEMP_FILE": dump,
        }
    return {name: value for name, value in wanted.items() if name not in said}


def take(run_dir: Path, ranks: Mapping[int, int], *, gpu: bool) -> tuple[Recording, ...]:
    """Ask ranks that may be able to answer.

    Args:
        run_dir: where their sockets and pipes are.
        ranks: local rank -> rank; stopped ones left out.
        gpu: whether NCCL is among what they use.
    """
    found: list[Recording] = []
    for local_rank, rank in sorted(ranks.items()):
        path = run_dir / records.RECORDER_SOCKET.format(local_rank=local_rank)
        for handler in (_GLOO, _NCCL) if gpu else (_GLOO,):
            content = ask(path, handler)
            if content:
                found.append(Recording(rank=rank, nccl=handler == _NCCL, content=content))
    if gpu:
        told = {one.rank for one in found if one.nccl}
        poke(run_dir, [rank for rank in ranks.values() if rank not in told])
    return tuple(found)


def dumped(run_dir: Path) -> tuple[Recording, ...]:
    """What NCCL has written by itself, or because its pipe was written to."""
    files = sorted(run_dir.glob(f"{DUMP_PREFIX}*"))
    ranks = [(file, file.name.removeprefix(DUMP_PREFIX)) for file in files]
    return tuple(
        Recording(rank=int(rank), nccl=True, content=file.read_bytes()) for file, rank in ranks if rank.isdecimal()
    )


def poke(run_dir: Path, ranks: Sequence[int]) -> None:
    """Write to these ranks' pipes, and wait until what they dump is whole."""
    asked = [rank for rank in ranks if _write(run_dir / f"{PIPE_PREFIX}{rank}.pipe")]
    deadline, sizes = time.monotonic() + PIPE_SECONDS, dict.fromkeys(asked, -1)
    while asked and time.monotonic() < deadline:
        time.sleep(0.5)
        now = {rank: _size(run_dir / f"{DUMP_PREFIX}{rank}") for rank in asked}
        if now == sizes and all(size > 0 for size in now.values()):
            return
        sizes = now


def _write(pipe: Path) -> bool:
    """Whether somebody reads it. Nothing waits: a pipe without a reader refuses."""
    try:
        descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    with suppress(OSError), os.fdopen(descriptor, "wb", buffering=0) as stream:
        stream.write(b"1")
        return True
    return False


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1


def ask(path: Path, handler: str) -> bytes:
    """A handler's answer; empty where there is none within `ASK_SECONDS`."""
    if not path.is_socket():
        return b""
    connection = _Connection(path)
    try:
        connection.request("POST", f"/handler/{handler}")
        answer = connection.getresponse()
        return answer.read() if answer.status == 200 else b""
    except (OSError, http.client.HTTPException) as error:
        log.warning("%s does not answer: %s", path.name, error)
        return b""
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ASK_SECONDS)
        self._path = str(path)

    def connect(self) -> None:
        """To the file in place of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ASK_SECONDS)
        self.sock.connect(self._path)
