"""What came after the last attempt: the condition Exported, and status.exportedModel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetune_operator import names
from finetune_operator.observe import Observed
from finetune_operator.plan import Plan, State
from finetune_operator.spec import FineTuneJob
from finetune_operator.status.conditions import Condition


def condition(job: FineTuneJob, plan: Plan, observed: Observed, previous: Mapping[str, Any]) -> Condition | None:
    """Present for trained jobs that are to be exported, or were."""
    folder = shown(observed, previous)
    if folder is not None:
        return Condition(type=names.EXPORTED, status="True", reason="Exported", message=f"merged into {folder}")
    if plan.state == State.EXPORTING:
        message = plan.message or "merging the adapter into the model"
        return Condition(type=names.EXPORTED, status="False", reason="Exporting", message=message)
    trained = any(record.reason == "Succeeded" for record in job.recorded.attempts)
    if plan.state == State.FAILED and trained:
        return Condition(type=names.EXPORTED, status="False", reason=plan.reason, message=plan.message)
    return None


def shown(observed: Observed, previous: Mapping[str, Any]) -> str | None:
    """The merged model's folder; kept when the Job is gone."""
    found = observed.export.found if observed.export else None
    if found is not None and found.result == "succeeded":
        return found.folder
    return previous.get("exportedModel")
