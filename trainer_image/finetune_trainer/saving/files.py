"""Writing one file of a checkpoint, and making all of them durable."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch
from torch.utils.serialization import config as torch_config

from finetune_trainer import atomic

_PIECE = 32 << 20
"""Bytes."""


class Abandoned(Exception):
    """The process is ending while a thread writes."""


def write(value: Any, path: Path, *, zipped: bool = True) -> None:  # noqa: ANN401 - whatever a state holds
    """As torch.save, which for a path would hide why the disk refuses; without checksums, which nobody reads.

    torch.load checks none, and one costs the processor more than the writing itself.

    Raises:
        OSError: the disk refuses; or torch's RuntimeError with that one as its context.
        Abandoned: the process is ending.
    """
    unchecked = torch_config.patch("save.compute_crc32", False)  # type: ignore[attr-defined]  # torch puts it there
    with path.open("wb") as stream, unchecked:
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
    """A file of gigabytes in pieces that are on disk, and out of the page cache, before the next is written.

    The same few pages are taken again and again: fresh ones would cost the processor three times as much, the ranks'
    data would be pushed out of memory, and all would have to be waited for at the end.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._unsettled = 0
        self.flush = stream.flush

    def write(self, data: bytes) -> int:
        check_alive()
        written = self._stream.write(data)
        self._unsettled += written
        if self._unsettled >= _PIECE:
            self._settle()
        return written

    def _settle(self) -> None:
        self._stream.flush()
        with suppress(AttributeError):  # macOS has neither
            os.fdatasync(self._stream.fileno())
            os.posix_fadvise(self._stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self._unsettled = 0
