"""What came before attempt 1: the condition Prepared, and status.preparation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetune_operator import names
from finetune_operator.observe import Observed
from finetune_operator.plan import Plan, State
from finetune_operator.status.conditions import Condition, find

GIB = 1 << 30


def condition(plan: Plan, observed: Observed, previous: Mapping[str, Any]) -> Condition | None:
    """Present for jobs that are, or were, prepared."""
    if plan.state == State.PREPARING:
        message = plan.message or "fetching the model, making tokens of the data"
        return Condition(type=names.PREPARED, status="False", reason="Preparing", message=message)
    seen = observed.prepare
    if plan.state == State.FAILED and not plan.attempt and plan.reason != names.DOES_NOT_FIT:
        return Condition(type=names.PREPARED, status="False", reason=plan.reason, message=plan.message)
    if seen is not None and seen.found is not None and seen.found.result == "succeeded":
        return Condition(type=names.PREPARED, status="True", reason="Prepared", message=seen.found.message)
    return _known(previous)


def shown(observed: Observed, previous: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was found: the model's folder, its size, the data; kept when the Job is gone."""
    found = observed.prepare.found if observed.prepare else None
    if found is None or found.result != "succeeded":
        return previous.get("preparation")
    values = {
        "model": found.model,
        "parameters": found.parameters,
        "memoryPerGpu": None if found.memory is None else f"{found.memory / GIB:.1f} GiB",
        "fits": found.fits,
        "rows": found.rows,
        "tokens": found.tokens,
        "steps": found.steps,
    }
    return {key: value for key, value in values.items() if value is not None}


def _known(previous: Mapping[str, Any]) -> Condition | None:
    """Somebody deleted the Job afterwards: it is prepared all the same."""
    told = find(names.PREPARED, previous)
    if told.get("status") != "True":
        return None
    return Condition(type=names.PREPARED, status="True", reason="Prepared", message=told.get("message", ""))
