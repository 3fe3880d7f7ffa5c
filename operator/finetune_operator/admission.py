"""Pure: what the API server is told while somebody applies a FineTuneJob.

Law: the operator's own checks, asked before the object is stored; knows neither kopf nor the cluster. What only the
cluster knows (claims, which the same sync may bring a moment later) is left to the conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finetune_operator import checks, spec
from finetune_operator.observe import Observed
from finetune_operator.settings import Settings
from finetune_operator.spec import Violation

_REFUSING = tuple(policy for policy in checks.CHECKS if policy is not checks.MEMORY)
"""The memory verdict is an estimate: here it warns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """To be shown by `kubectl apply`."""

    violations: tuple[Violation, ...] = ()
    """Why it is refused; empty where it is not."""
    warnings: tuple[str, ...] = ()

    @property
    def refusal(self) -> str | None:
        """All violations, a line for each."""
        return "\n".join(map(str, self.violations)) or None


def answer(new: Mapping[str, Any], old: Mapping[str, Any] | None, settings: Settings) -> Answer:
    """The answer to a creation (`old` is None) or a change.

    A change is refused for what it brings, not for what was there: a job that newer settings would refuse can still be
    suspended, and whoever deletes it can take its finalizers away.
    """
    found = _of(new, settings)
    known = _of(old, settings).violations if old is not None else ()
    fresh = tuple(violation for violation in found.violations if violation not in known)
    return Answer(violations=fresh, warnings=found.warnings)


def _of(body: Mapping[str, Any], settings: Settings) -> Answer:
    try:
        job = spec.parse(body)
    except spec.SpecInvalid as error:
        return Answer(violations=error.violations)
    unseen = Observed()
    memory = map(str, checks.MEMORY(job, unseen, settings))
    notes = (f"spec: {note}" for note in job.notes)
    return Answer(violations=checks.check(job, unseen, settings, _REFUSING), warnings=(*memory, *notes))
