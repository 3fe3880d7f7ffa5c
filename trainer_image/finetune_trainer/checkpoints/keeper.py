"""The keeper: commits one attempt's checkpoints, as long as the attempt owns the volume."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from finetune_trainer import atomic, records
from finetune_trainer.checkpoints.find import found, torn
from finetune_trainer.checkpoints.rotation import obsolete
from finetune_trainer.context import RunContext
from finetune_trainer.distributed import World
from finetune_trainer.failures import Fenced
from finetune_trainer.records import CheckpointMark, Fence


@dataclass(frozen=True, kw_only=True, slots=True)
class Keeper:
    """Commits checkpoints of one attempt. Every rank calls every method, but `owns`; rank 0 alone writes files."""

    context: RunContext
    world: World
    limit: int | None
    """save_total_limit; None keeps all."""
    global_batch: int | None = None
    """Rows of a step, for the mark."""
    rows_per_rank: int | None = None
    """Likewise, of a rank, as train.yaml has them."""

    def claim(self) -> None:
        """Write that this attempt owns the volume, and clear what earlier ones of this job left half-written.

        Who claims is going to train: a completion that lies there is of another specification, whose result ends here.

        Raises:
            Fenced: a later attempt of the same job already does.
        """
        theirs = self._read_fence() if self.world.is_first else None
        self._agree(theirs is None or theirs.uid != self.context.uid or theirs.attempt <= self.context.attempt)
        if self.world.is_first:
            try:
                atomic.write(self._fence_path, self._fence.to_json())
            except OSError:  # the disk is full, perhaps of what is to be cleared
                self._clear()
                atomic.write(self._fence_path, self._fence.to_json())
            (self.context.state_dir / records.COMPLETION_FILE).unlink(missing_ok=True)
            self._clear()
        self.world.barrier()

    def check_fence(self) -> None:
        """Whether this attempt still owns the volume.

        Raises:
            Fenced: another one does.
        """
        self._agree(not self.world.is_first or self.owns())

    def owns(self) -> bool:
        """Whether this attempt owns the volume, as this rank alone sees it; any rank may ask at any time."""
        return self._read_fence() == self._fence

    def open(self, step: int) -> None:
        """Before checkpoint-<step> is written: check the fence, drop what an earlier run left there, say who begins.

        Parts of more ranks than there are now would be taken for parts of this one.

        Raises:
            Fenced: another attempt owns the volume.
        """
        self.check_fence()
        if self.world.is_first:
            if self.folder(step).exists():
                self._let_go(self.folder(step))
                self.delete()
            atomic.write(self.folder(step) / records.CHECKPOINT_OPENED, self._fence.to_json())
        self.world.barrier()

    def commit(self, step: int, *, best: Path | None) -> None:
        """When all ranks' parts are on disk: mark the checkpoint complete, then let go of older ones than the limit.

        What is let go only moves out of the way: see `delete`.

        Raises:
            Fenced: another attempt owns the volume.
        """
        self.check_fence()
        if self.world.is_first:
            mark = CheckpointMark(
                uid=self.context.uid,
                spec_hash=self.context.spec_hash,
                attempt=self.context.attempt,
                step=step,
                world_size=self.world.size,
                global_batch=self.global_batch,
                rows_per_rank=self.rows_per_rank,
                time=time.time(),
            )
            atomic.write(self.folder(step) / records.CHECKPOINT_MARK, mark.to_json())
            (self.folder(step) / records.CHECKPOINT_OPENED).unlink(missing_ok=True)
            self._rotate(best)
        self.world.barrier()

    def delete(self) -> None:
        """Delete what has been let go. One rank calls it, in its own time: gigabytes take seconds."""
        shutil.rmtree(self._removed, onerror=_unless_shared)

    def folder(self, step: int) -> Path:
        """Where the checkpoint of a step lies."""
        return self.context.output_dir / f"checkpoint-{step}"

    @property
    def last_step(self) -> int | None:
        """The step of the job's latest complete checkpoint, with or without its optimizer."""
        steps = [one.step for one in found(self.context.output_dir) if one.mark and one.mark.uid == self.context.uid]
        return max(steps, default=None)

    @property
    def _fence(self) -> Fence:
        return Fence(uid=self.context.uid, attempt=self.context.attempt)

    @property
    def _fence_path(self) -> Path:
        return self.context.state_dir / records.FENCE_FILE

    @property
    def _removed(self) -> Path:
        return self.context.state_dir / records.REMOVED_DIR

    def _rotate(self, best: Path | None) -> None:
        context = self.context
        here, period = found(context.output_dir), context.keep_checkpoint_seconds
        for old in obsolete(here, limit=self.limit, uid=context.uid, best=best, period=period):
            self._let_go(old.path)

    def _clear(self) -> None:
        for one in torn(found(self.context.output_dir), uid=self.context.uid):
            self._let_go(one.path)
        self.delete()  # and what a kill has left there

    def _let_go(self, folder: Path) -> None:
        """By a rename: a kill while it is deleted leaves nothing that looks like a checkpoint."""
        gone = self._removed / folder.name
        gone.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(gone)

    def _read_fence(self) -> Fence | None:
        try:
            return Fence.from_json(self._fence_path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def _agree(self, ours: bool) -> None:  # noqa: FBT001 - the verdict is all there is to say
        if self.world.any(not ours):
            raise Fenced(
                f"attempt {self.context.attempt} no longer owns {self.context.output_dir}: another attempt has started"
            )


def _unless_shared(
    _call: Callable[..., object], _path: str, found: tuple[type[BaseException], BaseException, TracebackType]
) -> None:
    """An old attempt's rank may be deleting the same, or putting something there, while the next one clears."""
    error = found[1]
    if not isinstance(error, OSError) or error.errno not in {errno.ENOENT, errno.ENOTEMPTY}:
        raise error
