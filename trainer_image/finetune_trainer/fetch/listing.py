"""Pure: what a source says that it holds, and what of it may become a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from finetune_trainer.fetch.checksums import Checksum
from finetune_trainer.fetch.errors import SourceInvalid

MARKER = "fetched.json"
INCOMPLETE = ".incomplete"


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file of a model, as its source describes it."""

    name: str
    """Path below the model's folder, with slashes."""
    size: int
    """In bytes; -1: the listing does not tell it."""
    checksum: Checksum | None = None
    validator: str | None = None
    """ETag or date by which the server knows this very content; None: the checksum alone speaks for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """The files of one revision."""

    revision: str | None
    """Names the content for ever, such as a commit; None: it is named by its files."""
    files: tuple[File, ...]


def check_names(source: object, files: Iterable[File]) -> None:
    """Refuse names that would leave the folder, or meet files of ours.

    Raises:
        SourceInvalid: with the first such name.
    """
    for file in files:
        if not _is_safe(file.name):
            raise SourceInvalid(
                f"{source}: lists a file {file.name!r}, which would not lie in the model's folder; nothing of it is"
                " fetched"
            )


def content_revision(files: Iterable[File]) -> str:
    """A name for the content, where the source has none: the same files, the same name."""
    known = sorted(f"{file.name}\0{file.size}\0{file.checksum or file.validator}" for file in files)
    return f"content-{hashlib.sha256(chr(10).join(known).encode()).hexdigest()[:16]}"


def _is_safe(name: str) -> bool:
    path = PurePosixPath(name)
    plain = bool(name) and name == str(path) and not path.is_absolute() and ".." not in path.parts
    ours = name == MARKER or name.endswith(INCOMPLETE)
    return plain and not ours and "\\" not in name and name.isprintable()
