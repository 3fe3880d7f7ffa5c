"""SpecInvalid: what is wrong with a manifest, for people. A violation is the same value at both doors."""

from __future__ import annotations

from finetune_trainer.config import Violation

__all__ = ["SpecInvalid", "Violation"]


class SpecInvalid(ValueError):
    """The manifest can't be accepted; `violations` lists every wrong field."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        super().__init__("; ".join(str(violation) for violation in violations))
        self.violations = violations
