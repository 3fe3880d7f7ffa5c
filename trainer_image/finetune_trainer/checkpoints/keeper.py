"""The keeper: commits one attempt's checkpoints, as long as the attempt owns the volume."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finetune_trainer import atomic, records
from finetune_trainer.checkpoints.find import Checkpoint, found
from finetune_trainer.context import RunContext
from finetune_trainer.distributed import World
from finetune_trainer.failures import Fenced
from finetune_trainer.records import CheckpointMark, Fence


@dataclass(frozen=True, kw_only=True, slots=True)
class Keeper:
    """Commits checkpoints of one attempt. Every rank calls every method; rank 0 alone touches files."""

    context: RunContext
    world: World
    limit: int | None
    """save_total_limit; None keeps all."""
    global_batch: int | None = None
    """Rows of a step, for the mark."""
    rows_per_rank: int | None = None
    """Likewise, of a rank, as train.yaml has them."""

    def claim(self) -> None:
        """Write that this attempt owns the volume.

        Raises:
            Fenced: a later attempt of the same job already does.
        """
        theirs = self._read_fence() if self.world.is_first else None
        self._agree(theirs is None or theirs.uid != self.context.uid or theirs.attempt <= self.context.attempt)
        if self.world.is_first:
            atomic.write(self._fence_path, self._fence.to_json())
        self.world.barrier()

    def check_fence(self) -> None:
        """Whether this attempt still owns the volume.

        Raises:
            Fenced: another one does.
        """
        self._agree(not self.world.is_first or self._read_fence() == self._fence)

    def open(self, step: int) -> None:
        """Before checkpoint-<step> is written: check the fence, and drop what an earlier run left there.

        Parts of more ranks than there are now would be taken for parts of this one.
        """
        self.check_fence()
        if self.world.is_first:
            (self._folder(step) / records.CHECKPOINT_MARK).unlink(missing_ok=True)
            if self._folder(step).exists():
                shutil.rmtree(self._folder(step))
        self.world.barrier()

    def commit(self, step: int, *, best: Path | None) -> None:
        """After all ranks have written: mark the checkpoint complete, then let go of older ones than the limit."""
        self.world.barrier()
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
            )
            atomic.write(self._folder(step) / records.CHECKPOINT_MARK, mark.to_json())
            for old in obsolete(found(self.context.output_dir), limit=self.limit, uid=self.context.uid, best=best):
                (old.path / records.CHECKPOINT_MARK).unlink(missing_ok=True)
                shutil.rmtree(old.path)
        self.world.barrier()

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

    def _folder(self, step: int) -> Path:
        return self.context.output_dir / f"checkpoint-{step}"

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


def obsolete(checkpoints: Sequence[Checkpoint], *, limit: int | None, uid: str, best: Path | None) -> list[Checkpoint]:
    """Marked checkpoints of this job beyond the limit, oldest first; never the latest and never the best."""
    if limit is None or limit <= 0:
        return []
    ours = [checkpoint for checkpoint in checkpoints if checkpoint.mark is not None and checkpoint.mark.uid == uid]
    spare = [checkpoint for checkpoint in ours[:-1] if best is None or checkpoint.path != best]
    return spare[: max(0, len(ours) - limit)]
