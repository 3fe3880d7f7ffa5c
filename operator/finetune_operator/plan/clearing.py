"""What of attempts that have ended is deleted, in which order, and for what nobody waits."""

from __future__ import annotations

from datetime import datetime, timedelta

from finetune_operator.observe import Observed, ObservedAttempt, ObservedPod
from finetune_operator.settings import Settings
from finetune_operator.spec import AttemptRecord, FineTuneJob


def over(job: FineTuneJob, last: AttemptRecord, observed: Observed) -> tuple[tuple[str, str], ...]:
    """What goes when no attempt starts any more."""
    obsolete: list[tuple[str, str]] = []
    for attempt in observed.attempts:
        holds_nodes = attempt.phase not in {"Succeeded", "Failed"}
        is_older = attempt.number != last.number
        if is_older or holds_nodes or job.spec.run_policy.clean_pods == "All":
            obsolete += deletable(attempt)
    return tuple(obsolete)


def over_already(job: FineTuneJob, observed: Observed) -> tuple[tuple[str, str], ...]:
    """Children of attempts with a record, beside one that lives: a late call of an operator that was killed."""
    ended = {record.number for record in job.recorded.attempts}
    return tuple(child for attempt in observed.attempts if attempt.number in ended for child in deletable(attempt))


def leftovers(attempt: ObservedAttempt, settings: Settings, now: datetime) -> list[tuple[str, str]]:
    """What must go before the next attempt starts: all but the pods of nodes that do not answer any more."""
    limits = {pod.name: lost_at(pod, settings) for pod in attempt.pods}
    lost = {("Pod", name) for name, limit in limits.items() if limit is not None and limit <= now}
    return [child for child in attempt.leftovers if child not in lost]


def lost_at(pod: ObservedPod, settings: Settings) -> datetime | None:
    """When to give up on the kubelet of a pod that is being deleted; None for any other pod."""
    return pod.gone_by and pod.gone_by + timedelta(seconds=settings.lost_pod_seconds)


def deletable(attempt: ObservedAttempt) -> tuple[tuple[str, str], ...]:
    """Children in the order to delete them; pods go with the PyTorchJob, which would make them again before that."""
    ours = [child for child in attempt.leftovers if child[0] != "Pod"]
    return tuple(sorted(ours, key=lambda child: child[0] != "PyTorchJob"))
