"""How long what a job has made in the cluster outlives its end; the FineTuneJob itself is never deleted by us.

Two things stay in any case: the frozen ConfigMap, without which a late export or one more attempt would not go on as
attempt 1 was frozen, and a Job that has failed, for who deletes that one asks us to try again.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from finetune_operator.observe import Observed, ObservedJob, Told
from finetune_operator.plan import clearing
from finetune_operator.spec import FineTuneJob, from_time

Child = tuple[str, str]
"""(kind, name)."""


def due(job: FineTuneJob, *, failed: bool) -> datetime | None:
    """When they go; None: with the FineTuneJob, or status does not say yet when it ended.

    Without that nothing may go: what a Job found might not be written down either.
    """
    policy = job.spec.run_policy
    seconds = policy.keep_failed_seconds if failed else policy.keep_succeeded_seconds
    ended = from_time(job.recorded.status.get("completionTime"))
    return None if seconds is None or ended is None else ended + timedelta(seconds=seconds)


def children(job: FineTuneJob, observed: Observed) -> tuple[Child, ...]:
    """What goes then, in the order to delete it."""
    return (
        *(child for attempt in observed.attempts for child in clearing.deletable(attempt)),
        *_prepared(observed),
        *_exported(job, observed),
    )


def _prepared(observed: Observed) -> Iterator[Child]:
    """The ConfigMap first: when the Job is gone, nothing points to it any more."""
    seen = observed.prepare
    if seen is not None and observed.frozen is not None and _is_done(seen):
        yield from (("ConfigMap", seen.name), ("Job", seen.name))


def _exported(job: FineTuneJob, observed: Observed) -> Iterator[Child]:
    """Only when status says where the model lies: without that and without its Job it would be merged again."""
    seen = observed.export
    if seen is not None and "exportedModel" in job.recorded.status and _is_done(seen):
        yield "Job", seen.name


def _is_done(seen: ObservedJob[Told]) -> bool:
    succeeded = seen.found is not None and seen.found.result == "succeeded"
    return seen.phase == "Complete" and succeeded and not seen.deleting
