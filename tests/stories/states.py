"""Every state in which somebody may find a job, each reached by a story: the FineTuneJob as the API server holds it.

tests/golden/states has them as files; docs/gitops.md says what the tools make of each.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tests.stories import states_before, states_of_attempts, states_of_the_end
from tests.stories.story import Story

from finetune_operator import crd

Body = dict[str, Any]
State = Callable[[], Awaitable[Story]]

STATES: tuple[State, ...] = (
    states_before.just_created,
    states_before.wrong_manifest,
    states_before.missing_claim,
    states_before.preparing,
    states_before.preparation_tried_again,
    states_before.preparation_failed,
    states_before.does_not_fit,
    states_before.queued,
    states_before.quota_refused,
    states_of_attempts.starting,
    states_of_attempts.pod_cannot_start,
    states_of_attempts.loading,
    states_of_attempts.training,
    states_of_attempts.edit_not_seen,
    states_of_attempts.edit_ignored,
    states_of_attempts.edited_to_nonsense,
    states_of_attempts.admitted,
    states_of_attempts.evicted,
    states_of_attempts.restarting,
    states_of_attempts.suspending,
    states_of_attempts.suspended,
    states_of_attempts.created_suspended,
    states_of_attempts.resumed,
    states_of_the_end.exporting,
    states_of_the_end.export_failed,
    states_of_the_end.exported,
    states_of_the_end.succeeded,
    states_of_the_end.edited_after_the_end,
    states_of_the_end.attempts_used_up,
    states_of_the_end.deadline_passed,
    states_of_attempts.being_deleted,
)
"""In the order of a job's life."""


def sentences() -> dict[str, str]:
    """What each state is, for people, by its name."""
    return {_name(state): state.__doc__ or "" for state in STATES}


def bodies() -> dict[str, Body]:
    """The FineTuneJob of each state, as the story's world has it: without the API server's defaults."""

    async def all_of_them() -> dict[str, Body]:
        return {_name(state): (await state()).body for state in STATES}

    return asyncio.run(all_of_them())


def manifest(body: Mapping[str, Any]) -> Body:
    """What lies in Git: the user's part of a body."""
    metadata = {key: body["metadata"][key] for key in ("name", "namespace")}
    return {**{key: copy.deepcopy(body[key]) for key in ("apiVersion", "kind", "spec")}, "metadata": metadata}


def held(body: Mapping[str, Any]) -> Body:
    """A body with what the API server adds by the CRD's defaults."""
    found = copy.deepcopy(dict(body))
    [version] = crd.definition()["spec"]["versions"]
    _fill(found, version["schema"]["openAPIV3Schema"])
    return found


def _fill(value: Any, schema: Mapping[str, Any]) -> None:
    """Defaults, as the API server writes them: those of a missing object first, then those inside it."""
    if isinstance(value, list):
        for item in value:
            _fill(item, schema.get("items", {}))
    if not isinstance(value, dict):
        return
    for key, inner in schema.get("properties", {}).items():
        if key not in value and "default" in inner:
            value[key] = copy.deepcopy(inner["default"])
        if key in value:
            _fill(value[key], inner)


def _name(state: State) -> str:
    return state.__name__.replace("_", "-")
