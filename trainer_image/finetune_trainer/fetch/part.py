"""A file that is not complete: its bytes so far, and their checksum.

Bytes are written at their place, not at the end: a process that stood still and lost its lease writes what is there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from finetune_trainer.fetch.checksums import Digest, digest
from finetune_trainer.fetch.listing import INCOMPLETE, File

_BLOCK = 1 << 22


@dataclass(frozen=True, kw_only=True, slots=True)
class Wrong:
    """What a file amounts to, instead of what its source says."""

    expected: str
    found: str


class Part:
    """`<name>.incomplete`, open for writing from where an earlier process left off.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """

    def __init__(self, folder: Path, file: File) -> None:
        self.file = file
        self.position = 0
        self._target = folder / file.name
        self._path = self._target.with_name(self._target.name + INCOMPLETE)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._digest = self._fresh()
        there = os.fstat(self._stream).st_size
        if there > file.size:
            self.restart()
            there = 0
        while self.position < there and (block := os.pread(self._stream, _BLOCK, self.position)):
            self._count(block)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._stream)

    def write(self, data: bytes) -> None:
        """The next bytes."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._stream, rest, self.position + len(data) - len(rest))
            rest = rest[written:]
        self._count(data)

    def restart(self) -> None:
        """Forget all bytes."""
        os.ftruncate(self._stream, 0)
        self.position = 0
        self._digest = self._fresh()

    def wrong(self) -> Wrong | None:
        """What is wrong with the file as it is; None: nothing that can be known."""
        if self.position != self.file.size:
            return Wrong(expected=f"{self.file.size} bytes", found=f"{self.position} bytes")
        if self.file.checksum is None or self._digest is None:
            return None
        found = self._digest.hexdigest()
        if found == self.file.checksum.value:
            return None
        return Wrong(expected=str(self.file.checksum), found=f"{self.file.checksum.algorithm}:{found}")

    def complete(self) -> None:
        """Give the file its name, durable when this returns."""
        os.fsync(self._stream)
        self._path.replace(self._target)

    def discard(self) -> None:
        """Take the file away."""
        self._path.unlink(missing_ok=True)

    def _fresh(self) -> Digest | None:
        return digest(self.file.checksum.algorithm, self.file.size) if self.file.checksum else None

    def _count(self, data: bytes) -> None:
        self.position += len(data)
        if self._digest is not None:
            self._digest.update(data)
