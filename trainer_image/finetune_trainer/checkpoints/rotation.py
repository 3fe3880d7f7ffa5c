"""Which complete checkpoints are let go. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from finetune_trainer.checkpoints.find import Checkpoint


def obsolete(
    checkpoints: Sequence[Checkpoint], *, limit: int | None, uid: str, best: Path | None, period: float = 0
) -> list[Checkpoint]:
    """Marked checkpoints of this job beyond the limit, oldest first; never the latest and never the best.

    Args:
        checkpoints: by step.
        limit: how many stay, the best among them; None: all.
        uid: the job's.
        best: the best one's folder.
        period: seconds; of those beyond the limit the oldest stays, and each that is so much younger than the one
            before it that stays. These come on top of the limit. 0: none.
    """
    if limit is None or limit <= 0:
        return []
    ours = [checkpoint for checkpoint in checkpoints if checkpoint.mark is not None and checkpoint.mark.uid == uid]
    kept = _each_period(ours, period)
    spare = [one for one in ours[:-1] if one.path != best]
    return [one for one in spare[: max(0, len(ours) - limit)] if one.step not in kept]


def _each_period(ours: Sequence[Checkpoint], period: float) -> set[int]:
    """Steps of those that stay for their age; decided from the oldest on, so that later calls say the same."""
    steps: set[int] = set()
    last: float | None = None
    for one in ours if period > 0 else ():
        time = one.mark.time if one.mark else 0.0
        if last is None or time - last >= period:
            steps.add(one.step)
            last = time
    return steps
