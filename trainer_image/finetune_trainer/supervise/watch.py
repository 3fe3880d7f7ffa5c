"""Heartbeats: which local rank stands still."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_trainer import records
from finetune_trainer.records import Heartbeat, Phase

_MOVING = ("training", "evaluating")
"""Phases that only begin when all ranks are there."""
_PATIENCE: Mapping[Phase, float] = {"training": 1.0, "evaluating": 2.0, "saving": 4.0}
"""How many hang timeouts a phase may be silent; loading and tokenising may take as long as they take."""
_FIRST_STEP = 3.0
"""Likewise of the first step: connections are made, kernels are tried or compiled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stall:
    """A rank that was silent for too long."""

    rank: int
    step: int
    seconds: float
    beat_once: bool


class Watch:
    """Looks at the heartbeats of a node's ranks. Ages count from when a beat was seen here, so that a clock that
    is set does not look like a hang.
    """

    def __init__(self, run_dir: Path, *, processes: int, first_rank: int, timeout: float) -> None:
        self._files = {
            first_rank + local: run_dir / records.HEARTBEAT_FILE.format(local_rank=local) for local in range(processes)
        }
        self._timeout = timeout
        self._beats: dict[int, Heartbeat] = {}
        self._seen: dict[int, float] = {}
        self._began: dict[int, int] = {}

    @property
    def step(self) -> int | None:
        """The last step that any local rank reached."""
        return max((beat.step for beat in self._beats.values()), default=None)

    def look(self, now: float) -> Stall | None:
        """Read the heartbeats; the rank that is furthest behind among those that are silent for too long.

        `now` is in monotonic seconds. A rank without any heartbeat counts from when the first of the others trained.
        """
        for rank, file in self._files.items():
            beat = _read(file)
            if beat is not None and beat != self._beats.get(rank):
                self._beats[rank], self._seen[rank] = beat, now
                if beat.phase == "training":
                    self._began.setdefault(rank, beat.step)
        if any(beat.phase in _MOVING for beat in self._beats.values()):
            for rank in self._files:
                self._seen.setdefault(rank, now)
        stalls = [stall for rank in self._seen if (stall := self._stall(rank, now)) is not None]
        return min(stalls, key=lambda stall: (stall.step, -stall.seconds), default=None)

    def _stall(self, rank: int, now: float) -> Stall | None:
        beat, seconds = self._beats.get(rank), now - self._seen[rank]
        patience = self._patience(rank, beat)
        if self._timeout <= 0 or patience is None or seconds <= self._timeout * patience:
            return None
        return Stall(rank=rank, step=beat.step if beat else 0, seconds=seconds, beat_once=beat is not None)

    def _patience(self, rank: int, beat: Heartbeat | None) -> float | None:
        """In hang timeouts; None: for ever."""
        if beat is None:
            return 1.0
        if beat.phase == "training" and beat.step == self._began[rank]:
            return _FIRST_STEP
        return _PATIENCE.get(beat.phase)


def _read(file: Path) -> Heartbeat | None:
    try:
        return Heartbeat.from_json(file.read_text())
    except (OSError, ValueError):  # not there yet, or half written
        return None
