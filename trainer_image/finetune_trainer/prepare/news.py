"""How far the preparation is: progress.json, which the poster takes to the operator."""

from __future__ import annotations

import time
from pathlib import Path

from finetune_trainer import atomic, fetch
from finetune_trainer.records import Phase, Progress


class News:
    """Writes progress.json in the pod's run folder."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def phase(self, phase: Phase) -> None:
        """Something else begins."""
        self._write(Progress(time=time.time(), phase=phase))

    def fetching(self, progress: fetch.Progress) -> None:
        """A moment of a fetch."""
        self._write(
            Progress(
                time=time.time(),
                phase="fetching",
                fetched_bytes=progress.bytes,
                total_bytes=progress.total_bytes or None,
                bytes_per_second=progress.bytes_per_second,
                remaining_seconds=progress.remaining_seconds,
            )
        )

    def _write(self, progress: Progress) -> None:
        atomic.write_fleeting(self.file, progress.to_json())
