"""Who asks from outside gets this rank's last collectives: torch's own recorder, over a socket in the run folder.

Law: starts and ends that server; knows neither who asks nor when. A thread of torch answers, so a rank that hangs in a
collective answers too; one whose process is stopped does not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.distributed.elastic import control_plane

from finetune_trainer import records
from finetune_trainer.context import RunContext
from finetune_trainer.supervise.recorder import ask

LONGEST_PATH = 100
"""Of a socket: Linux takes 107 bytes, macOS 103."""

TRIES = 10
"""Of a few seconds each, to have it answer; it takes milliseconds."""


@contextmanager
def answering(context: RunContext) -> Iterator[None]:
    """Inside the `with`, the supervisor may ask; nobody does without a run folder."""
    path = _socket(context)
    if path is None:
        yield
        return
    os.environ[control_plane.TORCH_WORKER_SERVER_SOCKET] = path
    server = control_plane.worker_main()
    assert server is not None, "torch types it as what may fail: it raises then"
    with _silence():
        server.__enter__()
        _begun(Path(path))
    try:
        yield
    finally:
        with _silence():
            server.__exit__(None, None, None)


def _begun(path: Path) -> None:
    """Until it answers: torch waits for ever for the end of a server that is ended before it has begun."""
    for _ in range(TRIES):
        if ask(path, "ping"):
            return


def _socket(context: RunContext) -> str | None:
    if context.run_dir is None:
        return None
    path = str(context.run_dir / records.RECORDER_SOCKET.format(local_rank=context.place.local_rank))
    if len(path.encode()) <= LONGEST_PATH:
        return path
    sys.stderr.write(f"no flight recorder: {path} is too long for a socket\n")
    return None


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing is written to stderr for a moment: the server warns of its own beginning and end, on every rank."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
