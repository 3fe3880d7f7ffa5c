"""What a process has left in a file: a record, or nothing yet."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from finetune_trainer.records import Record

_R = TypeVar("_R", bound=Record)


def left(kind: type[_R], file: Path) -> _R | None:
    """The record; None where there is no file, or no record in it."""
    try:
        return kind.from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
