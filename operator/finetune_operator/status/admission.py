"""What the queue does with the job: the condition Admitted, and the events of its way in, out and in again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from finetune_operator import names
from finetune_operator.plan import Plan, State
from finetune_operator.spec import FineTuneJob, QueueRecord
from finetune_operator.status.conditions import Condition, find
from finetune_operator.status.told import Event


def condition(job: FineTuneJob, plan: Plan) -> Condition | None:
    """Only for jobs with a queue: why it waits, in Kueue's words, or what let it in and where to."""
    queue = job.spec.scheduling.queue
    if queue is None and plan.in_queue is None:
        return None
    if plan.wait is not None:
        return Condition(type=names.ADMITTED, status="False", reason=plan.wait.reason, message=plan.wait.message)
    if plan.state == State.QUEUED:
        return Condition(type=names.ADMITTED, status="False", reason=names.QUEUED, message=f"in queue {queue}")
    record = plan.in_queue
    if record is None or record.state != "Admitted" or plan.state in {State.SUSPENDED, State.RESTARTING}:
        return Condition(type=names.ADMITTED, status="False", reason=plan.state.value, message="in no queue now")
    return Condition(type=names.ADMITTED, status="True", reason="Admitted", message=_let_in(record))


def is_evicted(plan: Plan) -> bool:
    """The queue has taken the pods, and keeps the job."""
    return plan.state == State.QUEUED and plan.in_queue is not None and plan.in_queue.state == "Evicted"


def events(before: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Event]:
    """Waiting, let in, evicted; each as often as it happens."""
    now, then = find(names.ADMITTED, new), find(names.ADMITTED, before)
    queue, known = new.get("queue", {}), before.get("queue", {})
    message = str(now.get("message", ""))
    admissions, evictions = queue.get("admissions", 0), queue.get("evictions", 0)
    if evictions > known.get("evictions", 0):
        yield Event(reason=str(now["reason"]), message=message, type="Warning", once=f"eviction {evictions}")
    elif admissions > known.get("admissions", 0):
        yield Event(reason="Admitted", message=f"let in: {message}", once=f"admission {admissions}")
    elif "since" in queue and "since" not in known:
        once = f"queued {queue.get('evictions', 0)} {new.get('attempt', 0)}"
        yield Event(reason=names.QUEUED, message=message, once=once)
    if _needs_a_person(new) and now.get("reason") != then.get("reason"):
        once = f"{now['reason']} {new.get('attempt', 0)} {evictions}"
        yield Event(reason=str(now["reason"]), message=message, type="Warning", once=once)


def _needs_a_person(status: Mapping[str, Any]) -> bool:
    """The queue will not let it in by itself; an eviction of that kind has been told as one."""
    waits = find(names.ADMITTED, status)
    is_evicted = status.get("queue", {}).get("state") == "Evicted"
    return bool(not is_evicted and waits and find(names.STALLED, status).get("reason") == waits.get("reason"))


def _let_in(record: QueueRecord) -> str:
    parts = [f"queue {record.name}"]
    parts += [f"cluster queue {record.cluster_queue}"] if record.cluster_queue else []
    flavors = ", ".join(record.flavors)
    parts += [f"flavor{'s' * (len(record.flavors) > 1)} {flavors}"] if flavors else []
    return ", ".join(parts)
