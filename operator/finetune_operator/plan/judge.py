"""Has the running attempt ended, and why? A visible chain of small policies; the first that speaks decides.

The order matters: success before everything, the pods' own words before what the cluster did to them afterwards, and
what the cluster did to a pod before the clocks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from finetune_operator.observe import Frozen, ObservedAttempt, ObservedPod
from finetune_operator.plan import queue
from finetune_operator.spec import FineTuneJob
from finetune_trainer.records import HANG, MORE_MEMORY, PEER_LOST, Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """How an attempt ended."""

    reason: str
    message: str
    counted: bool = True
    """Counts towards maxAttempts."""
    retryable: bool = True
    pod: ObservedPod | None = None
    outcome: Outcome | None = None
    log_tail: str = ""
    """Where there is no outcome to hold it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What a policy may look at."""

    job: FineTuneJob
    attempt: ObservedAttempt
    frozen: Frozen | None
    now: datetime


Policy = Callable[[Case], Verdict | None]


def succeeded(case: Case) -> Verdict | None:
    """The master's supervisor left a completion for this very spec; nothing else is success."""
    for pod in case.attempt.pods:
        outcome = pod.outcome
        if pod.node_rank == 0 and outcome is not None and outcome.result == "succeeded":
            expected = case.frozen.spec_hash if case.frozen else case.job.spec_hash
            if outcome.spec_hash == expected:
                return Verdict(reason="Succeeded", message=outcome.message, counted=False, pod=pod, outcome=outcome)
            return Verdict(
                reason="WrongCompletion",
                message=f"the completion record speaks of spec {outcome.spec_hash}, this job is {expected}",
                retryable=False,
                pod=pod,
                outcome=outcome,
            )
    return None


def suspended(case: Case) -> Verdict | None:
    """The user wants the nodes back; the checkpoint stays."""
    if case.job.spec.run_policy.suspend:
        return Verdict(reason="Suspended", message="spec.runPolicy.suspend is true", counted=False)
    return None


def pod_failed(case: Case) -> Verdict | None:
    """A pod ended badly: the cause is the pod that knows most, not the ranks that lost their peer."""
    failed = [pod for pod in case.attempt.pods if _ended_badly(pod)]
    if not failed:
        return None
    pod = min(failed, key=_knows_least)
    if pod.outcome is not None:
        return Verdict(
            reason=_word(pod.outcome.reason),
            message=pod.outcome.message,
            retryable=pod.outcome.retryable,
            counted=pod.outcome.result != "stopped" or pod.disruption is None,
            pod=pod,
            outcome=pod.outcome,
        )
    if pod.disruption is not None:
        return _disrupted(pod)
    return Verdict(
        reason=_kubelet_reason(pod),
        message=_kubelet_message(pod),
        retryable=pod.terminated != "OOMKilled",
        pod=pod,
        log_tail=pod.message.strip() if _left_its_log(pod) else "",
    )


def init_gave_up(case: Case) -> Verdict | None:
    """The training operator's init container waits 200 s for the master's name, then fails: no attempt of ours."""
    for pod in case.attempt.pods:
        if pod.phase == "Failed" and pod.started is None and pod.outcome is None and pod.terminated is None:
            message = (
                f"pod {pod.name} gave up before the trainer started: {pod.message or 'its init container failed'}"
            )
            return Verdict(reason="InitGaveUp", message=message, counted=False, pod=pod)
    return None


def pod_disturbed(case: Case) -> Verdict | None:
    """A pod is gone, going, or another one: the training operator would put a fresh rank among stale ones."""
    disrupted = next((pod for pod in case.attempt.pods if pod.disruption is not None), None)
    if disrupted is not None:  # the others are deleted because of it
        return _disrupted(disrupted)
    seen = {pod.name: pod for pod in case.attempt.pods}
    for name, uid in case.job.recorded.pods.items():
        pod = seen.get(name)
        if pod is None:
            return Verdict(reason="PodLost", message=f"pod {name} is gone")
        if pod.uid != uid:
            return Verdict(reason="PodReplaced", message=f"pod {name} was replaced by a fresh one", pod=pod)
    return _deleted([pod for pod in case.attempt.pods if pod.deleting])


def job_failed(case: Case) -> Verdict | None:
    """The PyTorchJob has ended, or is gone, without a word of a pod."""
    attempt = case.attempt
    if attempt.deleting or (not attempt.exists and case.job.recorded.pods):
        return Verdict(reason="PyTorchJobDeleted", message="somebody deleted the PyTorchJob")
    if attempt.phase == "Failed":
        # Of its own pods none has failed: those of before an eviction, which were ending, have been taken for its own.
        counted = attempt.queue is None or not (case.job.recorded.queue and case.job.recorded.queue.evictions)
        return Verdict(reason="PyTorchJobFailed", message=attempt.message or "the PyTorchJob failed", counted=counted)
    if attempt.phase == "Succeeded":
        return Verdict(
            reason="NoCompletionRecord",
            message="the PyTorchJob says Succeeded, but the trainer left no completion record",
        )
    return None


def deadline_passed(case: Case) -> Verdict | None:
    """Our own clock: the training operator reads its deadline only when something else happens."""
    due = queue.deadline(case.job, case.now)
    if due is None or case.now < due:
        return None
    limit = case.job.spec.run_policy.active_deadline_seconds
    message = f"the job has not ended {limit} s after its first admission (spec.runPolicy.activeDeadlineSeconds)"
    return Verdict(reason="DeadlineExceeded", message=message, retryable=False)


def start_timed_out(case: Case) -> Verdict | None:
    """Some pods run and hold their nodes while others can't start: give the nodes back."""
    limit = start_deadline(case.job, case.attempt)
    if limit is None or case.now < limit:
        return None
    nodes = case.job.spec.resources.nodes
    late = [f"{pod.name} ({pod.waiting or 'not running'})" for pod in case.attempt.pods if pod.started is None]
    running = sum(pod.started is not None for pod in case.attempt.pods)
    message = (
        f"{running} of {nodes} pods started within {case.job.spec.scheduling.start_timeout_seconds} s"
        f" (spec.scheduling.startTimeoutSeconds); waiting: {', '.join(late) or 'for the pods to be created'}"
    )
    return Verdict(reason="StartTimeout", message=message)


CHAIN: tuple[Policy, ...] = (
    succeeded,
    suspended,
    pod_failed,
    init_gave_up,
    pod_disturbed,
    job_failed,
    deadline_passed,
    start_timed_out,
)


def judge(case: Case) -> Verdict | None:
    """The first policy's verdict, or None while the attempt goes on."""
    return next((verdict for policy in asked(case) if (verdict := policy(case))), None)


def asked(case: Case) -> tuple[Policy, ...]:
    """The policies that may speak, in their order."""
    # A queue holds or evicts the PyTorchJob: its pods come and go without being an attempt's end.
    return (succeeded, suspended, deadline_passed) if queue.held(case.attempt) else CHAIN


def start_deadline(job: FineTuneJob, attempt: ObservedAttempt) -> datetime | None:
    """When all pods must have started; None once they have."""
    running = sum(pod.started is not None for pod in attempt.pods)
    since = queue.let_in(attempt)
    if since is None or queue.held(attempt) or running >= job.spec.resources.nodes:
        return None
    return since + timedelta(seconds=job.spec.scheduling.start_timeout_seconds)


def _ended_badly(pod: ObservedPod) -> bool:
    """The trainer's container ended, and not with success."""
    if pod.outcome is not None:
        return pod.outcome.result != "succeeded"
    return pod.terminated is not None and (pod.exit_code != 0 or pod.phase == "Failed")


def _knows_least(pod: ObservedPod) -> tuple[bool, bool, bool, bool, int, int]:
    """Sort key: a record with a cause first, then the kubelet's word, then who hung, who lost a peer, who was stopped.

    Of nodes that hang the one that is furthest behind: the others wait for it.
    """
    outcome = pod.outcome
    reason = outcome.reason if outcome is not None else None
    stopped = outcome is not None and outcome.result == "stopped"
    behind = outcome.step or 0 if outcome is not None and reason == HANG else 0
    silent = outcome is None and pod.terminated != "OOMKilled"
    return (stopped, reason == PEER_LOST, reason == HANG, silent, behind, pod.node_rank)


def _word(reason: str) -> str:
    """A reason as conditions may carry it: a termination message can hold anything."""
    return reason if re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,62}", reason) else "Crashed"


def _deleted(pods: Sequence[ObservedPod]) -> Verdict | None:
    """The first to be deleted is the cause: the training operator deletes the others at once."""
    if not pods:
        return None
    due = min((pod.gone_by for pod in pods if pod.gone_by is not None), default=None)
    first = [pod for pod in pods if pod.gone_by == due] or list(pods)
    named = " and ".join(pod.name for pod in first)
    message = f"pod {named} is being deleted" if len(first) == 1 else f"pods {named} are being deleted"
    return Verdict(reason="PodDeleted", message=message, pod=first[0] if len(first) == 1 else None)


def _disrupted(pod: ObservedPod) -> Verdict:
    """The cluster took the node: not the job's fault, so it does not count."""
    message = f"pod {pod.name} on {pod.node or 'no node'}: {pod.disruption}"
    return Verdict(reason="Disrupted", message=message, counted=False, pod=pod)


def _left_its_log(pod: ObservedPod) -> bool:
    """The kubelet gives the log's end as message of a container that ran, and left none; others it explains itself."""
    return pod.terminated in {"Error", "OOMKilled"}


def _kubelet_reason(pod: ObservedPod) -> str:
    """Our word for the kubelet's."""
    return {"OOMKilled": "OutOfMemory", "Evicted": "Evicted"}.get(pod.terminated or "", "Crashed")


def _kubelet_message(pod: ObservedPod) -> str:
    """What the kubelet knows of a container that left no record."""
    if pod.terminated == "OOMKilled":
        return f"pod {pod.name} used more memory than it may: {MORE_MEMORY}"
    told = f": {pod.message.strip()}" if pod.message.strip() and not _left_its_log(pod) else ""
    return f"pod {pod.name} ended with exit code {pod.exit_code} ({pod.terminated}){told}"
