"""Why a checkpoint could not be written, in words for people."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from finetune_trainer.failures import DiskFull, RunError, SaveFailed

_FULL = (errno.ENOSPC, errno.EDQUOT)
_WORDS = ("No space left on device", "Disk quota exceeded", "os error 28", "os error 122")
"""safetensors and torch's C++ tell the number in words alone."""


def is_full(error: BaseException) -> bool:
    """Whether the disk, or a quota on it, is what an exception or one behind it complains of."""
    return any(
        (isinstance(one, OSError) and one.errno in _FULL) or any(said in str(one) for said in _WORDS)
        for one in _chain(error)
    )


def words(error: BaseException) -> str:
    """What an exception says, or the disk's refusal behind it: torch's C++ writer speaks of positions in files."""
    refused = [one for one in _chain(error) if isinstance(one, OSError)]
    return str(refused[-1] if refused else error) or type(error).__name__


def told(folder: Path, cause: str, *, full: bool, needed: int) -> RunError:
    """The fault as all ranks tell it.

    Args:
        folder: the checkpoint's.
        cause: what the first rank that failed has met.
        full: whether that was for want of room.
        needed: bytes of the whole checkpoint, or a little less.
    """
    if not full:
        return SaveFailed(f"{folder} could not be written: {cause}")
    return DiskFull(
        f"there is no room for {folder.name}: it takes {needed / 1e9:.2f} GB, and {_written(folder) / 1e9:.2f} GB of "
        f"it fill {folder.parent}, where {shutil.disk_usage(folder.parent).free / 1e9:.2f} GB are free ({cause}). "
        "Make room, or keep fewer checkpoints with save_total_limit; one more than is kept must fit"
    )


def _written(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
