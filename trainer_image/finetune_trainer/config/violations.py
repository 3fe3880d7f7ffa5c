"""What is wrong with a configuration, for people: where, what, and what to write instead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """A wrong key before anyone knows where it was written."""

    key: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """One wrong key."""

    path: str
    """`spec.training.learning_rat` in a manifest, `train.yaml:7: learning_rat` in a file."""
    message: str

    def __str__(self) -> str:
        """`spec.training.learning_rat: unknown key; did you mean learning_rate?`."""
        return f"{self.path}: {self.message}"


class ConfigInvalid(ValueError):
    """The configuration can't be accepted; `violations` lists every wrong key."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        super().__init__("\n".join(str(violation) for violation in violations))
        self.violations = violations
