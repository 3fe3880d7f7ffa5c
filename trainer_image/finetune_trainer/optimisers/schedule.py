"""The learning rate's course: what a schedule needs beyond the keys. The courses themselves are transformers'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def arguments(kind: str, said: Mapping[str, Any] | None, *, steps: int, warmup: int) -> dict[str, Any]:
    """`lr_scheduler_kwargs`, with warmup_stable_decay's steps filled in as LLaMA-Factory does.

    A third of the steps after the warm-up is stable, the rest decays.

    Args:
        kind: lr_scheduler_type.
        said: lr_scheduler_kwargs.
        steps: of the whole run.
        warmup: steps of the warm-up.
    """
    if kind != "warmup_stable_decay":
        return dict(said or {})
    after = steps - warmup
    return {"num_stable_steps": after // 3, "num_decay_steps": after - after // 3, **(said or {})}
