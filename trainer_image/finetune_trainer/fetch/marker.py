"""`fetched.json`: written last, says that a folder is complete and what is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_trainer import atomic
from finetune_trainer.fetch.checksums import Checksum
from finetune_trainer.fetch.listing import MARKER, File


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """A model in the cache, complete."""

    folder: Path
    source: str
    revision: str
    """A commit, or a name made of the files' checksums."""
    files: tuple[File, ...]
    left_out: Mapping[str, str]
    """Name of a file that was not needed -> why."""

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.size for file in self.files)


def write(fetched: Fetched) -> None:
    """Mark the folder complete. All its files are there, and durable.

    Raises:
        OSError: the folder cannot be written.
    """
    told = {
        "source": fetched.source,
        "revision": fetched.revision,
        "files": [
            {
                "name": file.name,
                "size": file.size,
                "checksum": None if file.checksum is None else str(file.checksum),
                "validator": file.validator,
            }
            for file in fetched.files
        ],
        "left_out": dict(fetched.left_out),
    }
    atomic.write(fetched.folder / MARKER, json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def read(folder: Path) -> Fetched | None:
    """What a complete folder holds; None: it has no mark, or files were taken away or cut since."""
    try:
        told = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        fetched = Fetched(
            folder=folder,
            source=told["source"],
            revision=told["revision"],
            files=tuple(map(_file, told["files"])),
            left_out=told["left_out"],
        )
        is_whole = all((folder / file.name).stat().st_size == file.size for file in fetched.files)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return fetched if is_whole else None


def _file(told: Mapping[str, Any]) -> File:
    checksum = told["checksum"]
    return File(
        name=told["name"],
        size=told["size"],
        checksum=None if checksum is None else Checksum.parse(checksum),
        validator=told["validator"],
    )
