"""Writing one file of a checkpoint, and making all of them durable."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import IO, Any

import torch

from finetune_trainer import atomic


class Abandoned(Exception):
    """The process is ending while a thread writes."""


def write(value: Any, path: Path, *, zipped: bool = True) -> None:  # noqa: ANN401 - whatever a state holds
    """As torch.save, which for a path would hide why the disk refuses.

    Raises:
        OSError: the disk refuses; or torch's RuntimeError with that one as its context.
        Abandoned: the process is ending.
    """
    with path.open("wb") as stream:
        target: Any = _Watched(stream) if zipped else stream
        torch.save(value, target, _use_new_zipfile_serialization=zipped)


def settle(folder: Path) -> None:
    """Wait until everything under a folder is on disk, and the folder's own name.

    Raises:
        OSError: the disk could not take it.
        Abandoned: the process is ending.
    """
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            check_alive()
            atomic.sync(Path(root, name))
        atomic.sync(Path(root))
    atomic.sync(folder.parent)


def check_alive() -> None:
    """Python waits for threads at its end: a failed rank must not write on for minutes what nobody will commit.

    Raises:
        Abandoned: the main thread has ended.
    """
    if not threading.main_thread().is_alive():
        raise Abandoned


class _Watched:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.flush = stream.flush

    def write(self, data: bytes) -> int:
        check_alive()
        return self._stream.write(data)
