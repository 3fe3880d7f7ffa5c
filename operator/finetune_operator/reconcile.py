"""One pass: parse, observe, plan, apply, report.

Law: the order of a pass and nothing else; every trigger ends here, and running it twice is running it once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from finetune_operator import checks, observe, plan, render, spec, status
from finetune_operator.cluster import Cluster, ClusterRefused, WebhookUnavailable
from finetune_operator.names import Key
from finetune_operator.observe import Observed, Posted
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob, Violation

CHECK_AGAIN_SECONDS = 15.0
"""A claim that was missing may be applied a moment later by the same GitOps sync."""
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
    observed = observe.of(await cluster.children(key, spec.claims(job.spec)), uid=job.uid, posted=posts.get(key))
    observed = await _with_refusal(key, cluster, observed)
    planned = plan.make(job, observed, settings, now)
    violations = _at_the_door(job, observed, settings, planned)
    if violations:
        await _report(key, cluster, body, status.rejected(body, violations, now, reason="Refused"))
        return CHECK_AGAIN_SECONDS
    told = status.of(job, planned, observed, now)
    try:
        manifests = _wanted(planned)
    except render.OverlayInvalid as error:
        wrong = Violation(path=error.path, message=error.message)
        await _report(key, cluster, body, status.rejected(body, (wrong,), now, reason="Refused"))
        return None
    try:
        await _carry_out(key, cluster, manifests, planned.obsolete)
    except (ClusterRefused, WebhookUnavailable) as error:
        await _report(key, cluster, body, status.refused(body, told, error.reason, str(error), now))
        raise
    if status.only_progress(body.get("status"), told) and (wait := posts.wait(key, settings.progress_seconds, now)):
        return wait if planned.requeue_after is None else min(wait, planned.requeue_after)
    for event in status.events(body.get("status"), told):
        await cluster.event(body, event.reason, event.message, event.type, once=event.once)
    await _report(key, cluster, body, told)
    posts.written(key, now)
    return planned.requeue_after


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


def _at_the_door(
    job: FineTuneJob, observed: observe.Observed, settings: Settings, planned: plan.Plan
) -> tuple[Violation, ...]:
    """Checks that need the cluster or the settings. A job that has started is not sent away any more, and yet no edit
    brings into its next pods what the door refuses."""
    if observed.frozen is None:
        return checks.check(job, observed, settings)
    starts = any(one is not None for one in (planned.run, planned.export))
    return checks.check(job, observed, settings, checks.EDITED) if starts else ()


async def _carry_out(
    key: Key, cluster: Cluster, manifests: Iterable[render.Manifest], obsolete: Iterable[tuple[str, str]]
) -> None:
    """Apply what is wanted, delete what is obsolete."""
    for manifest in manifests:
        await cluster.apply(manifest)
    for kind, name in obsolete:
        await cluster.delete(kind, key.namespace, name)


async def _report(key: Key, cluster: Cluster, body: dict[str, Any], wanted: dict[str, Any]) -> None:
    """One status write per pass, only if it differs, and only over what this pass has read.

    Another operator, or the last call of one that was killed, may have written a record meanwhile: it must stay.
    """
    if body.get("status") != wanted:
        await cluster.write_status(key, wanted, body["metadata"].get("resourceVersion"))
