"""Writing a file so that a reader sees the old text or the new one, never half of it, and making files durable.

Law: knows paths and text, not what they mean.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Replace a file's text in one rename, durable when it returns (a node may die right after).

    Raises:
        OSError: the folder cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)
    sync(path.parent)  # or the rename may be lost with the node


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on disk; nothing to do where nothing lies any more.

    Raises:
        OSError: the disk could not take them.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP)):  # some file systems sync no folders
            raise
    finally:
        os.close(handle)


def write_fleeting(path: Path, text: str) -> None:
    """The same for a file that means nothing after a reboot: no wait for the disk."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
