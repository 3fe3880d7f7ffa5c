"""What the manifest says about queues and gangs, and what the cluster's owner has told us of them."""

from __future__ import annotations

from collections.abc import Iterable

from finetune_operator.observe import Observed
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob, Violation


def gang_possible(job: FineTuneJob, _observed: Observed, settings: Settings) -> Iterable[Violation]:
    """The training operator makes no PodGroup unless a flag tells it to, and says nothing about it."""
    gang = job.spec.scheduling.gang
    if gang is None:
        return
    if settings.gang_scheduler is None:
        message = (
            "needs a gang scheduler: the training operator runs without --gang-scheduler-name, as far as this operator"
            " knows (its setting gangScheduler); without a gang, spec.scheduling.startTimeoutSeconds gives nodes back"
        )
        yield Violation(path="spec.scheduling.gang", message=message)
    elif gang.queue is not None and settings.gang_scheduler != "volcano":
        message = f"is Volcano's; the gang scheduler here is {settings.gang_scheduler}, which has none; leave it out"
        yield Violation(path="spec.scheduling.gang.queue", message=message)


def priority_of_a_queue(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """A place in a queue without a queue."""
    scheduling = job.spec.scheduling
    if scheduling.queue_priority_class_name is not None and scheduling.queue is None:
        message = "orders the jobs of a queue: write spec.scheduling.queue too, or leave it out"
        yield Violation(path="spec.scheduling.queuePriorityClassName", message=message)
