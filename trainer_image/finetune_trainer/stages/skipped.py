"""Steps that DeepSpeed leaves out without a word: their gradient is not finite, and the weights stay as they were.

With fp16 that is how the loss scale is found. With any other type it is a fault of the rows or of the model, and the
run would be another one than the user thinks.
"""

from __future__ import annotations

from torch import nn

ADVICE = (
    "Look at the rows of these steps; if they are sound, a smaller learning_rate usually helps. "
    "Checkpoints so far are kept"
)


class Skipped:
    """Counts them from the first step of this attempt on; a checkpoint brings the count of the run before."""

    def __init__(self) -> None:
        self._known: int | None = None

    def begin(self, engine: nn.Module) -> None:
        """Before a step; the first call sets the mark."""
        if self._known is None:
            self._known = _count(engine)

    def words(self, engine: nn.Module, step: int) -> str | None:
        """What people are told after `step`, where steps were left out; alike on every rank. None: none were."""
        fresh = _count(engine) - (self._known or 0)
        if fresh <= 0:
            return None
        what = "1 step" if fresh == 1 else f"{fresh} steps"
        return (
            f"the gradient is not finite: of the steps up to step {step} that are not told of yet, DeepSpeed left out "
            f"{what}. {ADVICE}"
        )


def _count(engine: nn.Module) -> int:
    """Steps that were left out by DeepSpeed's engine, and not to find the scale of fp16; 0 of any other model."""
    fp16 = getattr(engine, "fp16_enabled", None)
    return 0 if fp16 is None or fp16() else int(engine.skipped_steps)  # type: ignore[arg-type]
