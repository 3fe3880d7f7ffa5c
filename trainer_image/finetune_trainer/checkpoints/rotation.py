"""Which complete checkpoints are let go. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from finetune_trainer.checkpoints.find import Checkpoint


def obsolete(checkpoints: Sequence[Checkpoint], *, limit: int | None, uid: str, best: Path | None) -> list[Checkpoint]:
    """Marked checkpoints of this job beyond the limit, oldest first; never the latest and never the best."""
    if limit is None or limit <= 0:
        return []
    ours = [checkpoint for checkpoint in checkpoints if checkpoint.mark is not None and checkpoint.mark.uid == uid]
    spare = [checkpoint for checkpoint in ours[:-1] if best is None or checkpoint.path != best]
    return spare[: max(0, len(ours) - limit)]
