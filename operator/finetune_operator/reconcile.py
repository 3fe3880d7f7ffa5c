"""One pass: parse, observe, plan, apply, report.

Law: the order of a pass and nothing else; every trigger ends here, and running it twice is running it once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from finetune_operator import checks, logs, observe, plan, render, spec, status
from finetune_operator.cluster import Cluster, ClusterRefused, WebhookUnavailable
from finetune_operator.names import Key
from finetune_operator.observe import Observed, Posted
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob, Violation

logger = logging.getLogger(__name__)

CHECK_AGAIN_SECONDS = 15.0
"""A claim that was missing may be applied a moment later by the same GitOps sync."""
FOLLOW_UP_SECONDS = 5.0
"""After something was started, ended or deleted: somebody else's answer brings the next pass sooner."""
PODS_REFUSED = "FailedCreatePod"
"""The training operator's word."""


class Posts(Protocol):
    """What the pods said last, and when it was last written down."""

    def get(self, key: Key) -> Posted | None:
        """The newest post of a job."""

    def written(self, key: Key, now: datetime) -> None:
        """The job's status was written."""

    def wait(self, key: Key, seconds: float, now: datetime) -> float:
        """Seconds until progress alone is worth another write, of which it gets one in `seconds`."""


async def reconcile(key: Key, cluster: Cluster, settings: Settings, posts: Posts, now: datetime) -> float | None:
    """Bring the children of one job to their plan and write down where the job stands.

    Returns:
        Seconds until the job needs another pass without any event, or None.

    Raises:
        ClusterError: the API server did not answer; the work queue tries again.
    """
    body = await cluster.job(key)
    if body is None or body["metadata"].get("deletionTimestamp"):
        return None
    try:
        job = spec.parse(body)
    except spec.SpecInvalid as error:
        await _report(key, cluster, body, status.rejected(body, error.violations, now))
        return None
    decided = await _decide(job, cluster, posts.get(key), settings, now)
    if decided.acts and not decided.live:
        decided = await _decide(job, cluster, posts.get(key), settings, now, live=True)
    observed, planned = decided.observed, decided.planned
    if decided.violations:
        await _report(key, cluster, body, status.rejected(body, decided.violations, now, reason="Refused"))
        return CHECK_AGAIN_SECONDS
    told = status.of(job, planned, observed, now)
    try:
        manifests = _wanted(planned)
    except render.OverlayInvalid as error:
        wrong = Violation(path=error.path, message=error.message)
        await _report(key, cluster, body, status.rejected(body, (wrong,), now, reason="Refused"))
        return None
    try:
        await _carry_out(key, cluster, manifests, planned)
    except (ClusterRefused, WebhookUnavailable) as error:
        await _report(key, cluster, body, status.refused(body, told, error.reason, str(error), now))
        raise
    if status.only_progress(body.get("status"), told) and (wait := posts.wait(key, settings.progress_seconds, now)):
        return wait if planned.requeue_after is None else min(wait, planned.requeue_after)
    for event in status.events(body.get("status"), told):
        level = logging.WARNING if event.type == "Warning" else logging.INFO
        logger.log(level, "%s: %s: %s", key, event.reason, event.message, extra=logs.about(key, planned.attempt))
        await cluster.event(body, event.reason, event.message, event.type, once=event.once)
    await _report(key, cluster, body, told)
    posts.written(key, now)
    return _next(job, told, decided, settings, now)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Decided:
    """What one look at the children led to."""

    observed: Observed
    planned: plan.Plan
    violations: tuple[Violation, ...]
    live: bool
    """The look was at what is so now, not at what the watches showed last."""

    @property
    def acts(self) -> bool:
        """It starts, ends or deletes something, so what it is decided on has to be so now."""
        planned = self.planned
        return bool(planned.run or planned.prepare or planned.export or planned.record or planned.obsolete)


async def _decide(  # noqa: PLR0913 - all that a decision is made of
    job: FineTuneJob,
    cluster: Cluster,
    posted: Posted | None,
    settings: Settings,
    now: datetime,
    *,
    live: bool = False,
) -> _Decided:
    key = Key(job.namespace, job.name)
    children = await cluster.children(key, spec.claims(job.spec), live=live)
    observed = await _with_refusal(key, cluster, observe.of(children, uid=job.uid, posted=posted))
    planned = plan.make(job, observed, settings, now)
    violations = checks.at_the_door(job, observed, settings, starts=planned.makes_pods)
    return _Decided(observed=observed, planned=planned, violations=violations, live=children.live)


def _next(
    job: FineTuneJob, told: dict[str, Any], decided: _Decided, settings: Settings, now: datetime
) -> float | None:
    """Seconds until the next pass without an event: the echo of our own writes is none.

    At once, if the same children lead further now that this status is written.
    """
    requeue_after = decided.planned.requeue_after
    if decided.acts:
        return FOLLOW_UP_SECONDS if requeue_after is None else min(requeue_after, FOLLOW_UP_SECONDS)
    again = replace(job, recorded=spec.recorded_from_status(told))
    planned = plan.make(again, decided.observed, settings, now)
    is_steady = status.of(again, planned, decided.observed, now) == told and planned == decided.planned
    return requeue_after if is_steady else 0.0


async def _with_refusal(key: Key, cluster: Cluster, observed: Observed) -> Observed:
    """Where pods are missing: why. A quota's refusal stands nowhere but in an Event of the PyTorchJob."""
    newest = observed.attempts[-1] if observed.attempts else None
    if newest is None or not newest.lacks_pods:
        return observed
    refusal = await cluster.warning(key.namespace, newest.uid, PODS_REFUSED)
    return replace(observed, attempts=(*observed.attempts[:-1], replace(newest, refusal=refusal)))


def _wanted(planned: plan.Plan) -> tuple[render.Manifest, ...]:
    """The children of what this pass starts."""
    if planned.prepare is not None:
        return render.preparation(planned.prepare)
    if planned.export is not None:
        return render.exportation(planned.export)
    return render.children(planned.run) if planned.run is not None else ()


async def _carry_out(key: Key, cluster: Cluster, manifests: Iterable[render.Manifest], planned: plan.Plan) -> None:
    """Apply what is wanted, delete what is obsolete."""
    about = logs.about(key, planned.attempt)
    for manifest in manifests:
        await cluster.apply(manifest)
        logger.info("%s: applied %s %s", key, manifest["kind"], manifest["metadata"]["name"], extra=about)
    for kind, name in planned.obsolete:
        await cluster.delete(kind, key.namespace, name)
        logger.info("%s: deleted %s %s", key, kind, name, extra=about)


async def _report(key: Key, cluster: Cluster, body: dict[str, Any], wanted: dict[str, Any]) -> None:
    """One status write per pass, only if it differs, and only over what this pass has read.

    Another operator, or the last call of one that was killed, may have written a record meanwhile: it must stay.
    """
    if body.get("status") != wanted:
        await cluster.write_status(key, wanted, body["metadata"].get("resourceVersion"))
