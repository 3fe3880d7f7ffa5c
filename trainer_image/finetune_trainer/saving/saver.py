"""The saver: one checkpoint at a time, from its copy to its commit. Every rank calls every method but `hand`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from finetune_trainer.checkpoints import Keeper
from finetune_trainer.failures import Fenced, SaveFailed
from finetune_trainer.saving import faults
from finetune_trainer.saving.files import settle
from finetune_trainer.saving.snapshot import copied, size
from finetune_trainer.saving.work import Job, Work

_ROOM = 0.8
"""Share of the free memory that a copy may take."""


@dataclass(slots=True)
class _Save:
    """A checkpoint between its opening and its commit."""

    step: int
    at_once: bool
    best: Callable[[], Path | None]
    jobs: dict[str, Job]
    """By what they write: DeepSpeed writes its files twice where it may not gather weights."""
    bytes: int = 0
    work: Work | None = None


def is_due(passed: float, every: float) -> bool:
    """Whether a checkpoint is due, when the last one was begun `passed` seconds ago; 0: never for the time's sake."""
    return 0 < every <= passed


class Saver:
    """See the module. Errors of the writing thread are raised on all ranks alike, when they next exchange words."""

    def __init__(
        self,
        keeper: Keeper,
        *,
        free: Callable[[], int | None] = lambda: None,
        kept: Callable[[int], None] = lambda _step: None,
    ) -> None:
        """Make one for a run.

        Args:
            keeper: commits.
            free: bytes of main memory that this rank may still fill; None: nobody knows.
            kept: told the step of each checkpoint that is complete.
        """
        self._keeper = keeper
        self.world = keeper.world
        self._free = free
        self._kept = kept
        self._save: _Save | None = None
        self._deletion: Work | None = None
        self._last = time.monotonic()
        self.seconds = 0.0
        """How long the thread took for the last one."""

    @property
    def is_taking(self) -> bool:
        """Whether a checkpoint is open and takes what is handed over."""
        return self._save is not None and self._save.work is None

    @contextmanager
    def taking(self, step: int, *, best: Callable[[], Path | None], at_once: bool = False) -> Iterator[None]:
        """Around what makes up checkpoint-<step>: what is handed over inside is written after it.

        Args:
            step: the optimiser's.
            best: the best checkpoint so far, which stays, asked at the commit.
            at_once: write and commit it before this returns.

        Raises:
            Fenced: another attempt owns the volume.
            SaveFailed: this checkpoint, or the one before it, could not be written.
        """
        self.finish()
        self._last = time.monotonic()
        with self._named(step):
            self._keeper.open(step)
            self._save = save = _Save(step=step, at_once=at_once, best=best, jobs={})
            yield
        save.work = Work([*save.jobs.values(), functools.partial(settle, self._keeper.folder(step))])
        save.jobs = {}
        if at_once:
            self.finish()

    def hand(
        self,
        value: Any,  # noqa: ANN401 - whatever a state holds
        write: Callable[[Any], None],
        *,
        name: str,
        still: frozenset[int] = frozenset(),
        is_copy: bool = False,
    ) -> None:
        """Have a part of the open checkpoint written: a copy by the thread, or this very value where memory is short.

        Args:
            value: what is saved.
            write: writes it.
            name: of the part; a second one of the same name takes the first one's place.
            still: see `copied`.
            is_copy: nobody else holds or changes the value.
        """
        save = self._save
        assert save is not None, "nothing is saved outside of `taking`"
        needed = size(value, still=still)
        save.bytes += 0 if name in save.jobs else needed
        if save.at_once or not (is_copy or self._has_room(needed)):
            write(value)
            return
        kept = value if is_copy else copied(value, still=still)
        save.jobs[name] = functools.partial(self._fenced, write, kept)

    def words(self) -> Sequence[float]:
        """What this rank has to say at a step's end, to be summed over all: it still writes, it failed, time is up.

        The first rank's clock is the run's.
        """
        work = None if self._save is None else self._save.work
        late = self.world.is_first and is_due(time.monotonic() - self._last, self._keeper.context.checkpoint_seconds)
        return (float(work is not None and not work.done), float(work is not None and work.error is not None), late)

    def hear(self, writing: float, failed: float, late: float) -> bool:
        """What all ranks have said: commit when nobody writes any more.

        Returns:
            Whether it is time for another checkpoint.

        Raises:
            Fenced: another attempt owns the volume.
            SaveFailed: a rank could not write.
        """
        if self._save is not None and (failed or not writing):
            self._end(self._save, failed=bool(failed))
        return bool(late)

    def finish(self) -> None:
        """Wait for the checkpoint that is still being written, if there is one, and commit it; for deletions too.

        Raises:
            Fenced: another attempt owns the volume.
            SaveFailed: a rank could not write, or the first one could not delete.
        """
        if self._save is not None and self._save.work is not None:
            self._save.work.wait()
            self._end(self._save, failed=self.world.any(self._save.work.error is not None))
        self._await_deletion()

    def _end(self, save: _Save, *, failed: bool) -> None:
        assert save.work is not None
        self._save = None
        if failed:
            self._fail(save)
        self.seconds = save.work.seconds
        with self._named(save.step):
            self._keeper.commit(save.step, best=save.best())
        self._kept(save.step)
        self._deletion = Work([self._keeper.delete] if self.world.is_first else [])

    def _await_deletion(self) -> None:
        if self._deletion is None:
            return
        self._deletion.wait()
        error, self._deletion = self._deletion.error, None
        said = self.world.gather(None if error is None else str(error))[0]
        if said is not None:
            raise SaveFailed(f"a checkpoint that save_total_limit lets go could not be deleted: {said}") from error

    def _fail(self, save: _Save) -> NoReturn:
        self._keeper.check_fence()
        error = save.work.error if save.work else None
        said = None if error is None else (faults.words(error), faults.is_full(error))
        found = [(words, rank) for rank, words in enumerate(self.world.gather(said)) if words is not None]
        (words, full), rank = found[0]
        needed = int(self.world.sum(save.bytes)[0])
        who = f"rank {rank}: " if self.world.size > 1 else ""
        raise faults.told(self._keeper.folder(save.step), f"{who}{words}", full=full, needed=needed) from error

    @contextmanager
    def _named(self, step: int) -> Iterator[None]:
        """Small files are written at once, by whoever makes them, and a disk may be full for these too."""
        try:
            yield
        except Exception as error:
            needed, self._save = self._save.bytes if self._save else 0, None
            if not faults.is_full(error):
                raise
            raise faults.told(self._keeper.folder(step), faults.words(error), full=True, needed=needed) from error

    def _has_room(self, needed: int) -> bool:
        free = self._free()
        return free is None or needed <= _ROOM * free

    def _fenced(self, write: Callable[[Any], None], value: Any) -> None:  # noqa: ANN401 - whatever a state holds
        """Ranks of a lost node may come to themselves after the next attempt has begun the same checkpoint."""
        if not self._keeper.owns():
            raise Fenced("another attempt has begun")
        write(value)
