"""The life of a job as attempts: what each pass decides, given what it sees."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from finetune_operator import plan, spec
from finetune_operator.observe import Frozen, Observed, ObservedAttempt, ObservedPod
from finetune_operator.plan import State
from finetune_operator.settings import Settings
from finetune_operator.spec import AttemptRecord, FineTuneJob, Recorded
from finetune_trainer.records import Outcome, Progress

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
SETTINGS = Settings(backoff_seconds=10, backoff_limit_seconds=60)


def job(*, recorded: Recorded | None = None, policy: dict[str, Any] | None = None, **fields: Any) -> FineTuneJob:
    body = {
        "metadata": {"name": "j", "namespace": "n", "uid": "u", "generation": 1},
        "spec": {
            "training": {
                "stage": "sft",
                "do_train": True,
                "model_name_or_path": "/m",
                "dataset": "d",
                "template": "qwen",
                "output_dir": "out",
            },
            "resources": {"nodes": 2},
            "runPolicy": policy or {},
            **fields,
        },
    }
    return replace(spec.parse(body), recorded=recorded or Recorded())


def pod(rank: int, **fields: Any) -> ObservedPod:
    name = f"j-1-{'master-0' if rank == 0 else f'worker-{rank - 1}'}"
    values = {"uid": f"uid-{rank}", "phase": "Running", "running": True, "started": NOW, "node": f"node{rank}"}
    return ObservedPod(name=name, node_rank=rank, **{**values, **fields})


def attempt(number: int = 1, *pods: ObservedPod, **fields: Any) -> ObservedAttempt:
    values = {
        "exists": True,
        "created": NOW,
        "phase": "Running",
        "leftovers": (("ConfigMap", f"j-{number}"), ("PyTorchJob", f"j-{number}")),
    }
    return ObservedAttempt(number=number, pods=pods or (pod(0), pod(1)), **{**values, **fields})


def seen(*attempts: ObservedAttempt, **fields: Any) -> Observed:
    frozen = Frozen(spec_hash=job().spec_hash, contract=1, image="old:1", nodes=1)
    return Observed(attempts=attempts, frozen=frozen if attempts else None, **fields)


def outcome(**fields: Any) -> Outcome:
    values = {"result": "failed", "reason": "Crashed", "message": "boom", "retryable": True}
    known = {"attempt": 1, "node_rank": 0, "spec_hash": job().spec_hash}
    return Outcome(**{**values, **known, **fields})


def record(number: int = 1, **fields: Any) -> AttemptRecord:
    values = {"reason": "Crashed", "message": "boom", "counted": True, "finished": NOW}
    return AttemptRecord(number=number, **{**values, **fields})


def make(wanted: FineTuneJob, observed: Observed, now: datetime = NOW) -> plan.Plan:
    return plan.make(wanted, observed, SETTINGS, now)


def recorded(*records: AttemptRecord, **fields: Any) -> Recorded:
    return Recorded(attempts=records, **fields)


def test_a_new_job_starts_attempt_1_and_freezes_it() -> None:
    made = make(job(), Observed())
    assert made.state == State.STARTING
    assert made.run is not None
    assert (made.run.attempt, made.run.name, made.run.freeze) == (1, "j-1", True)


def test_a_running_attempt_is_left_alone_and_its_pods_are_remembered() -> None:
    made = make(job(), seen(attempt()))
    assert (made.state, made.run, made.record, made.obsolete) == (State.RUNNING, None, None, ())
    assert made.pods == {"j-1-master-0": "uid-0", "j-1-worker-0": "uid-1"}


def test_an_attempt_whose_pytorchjob_was_not_created_yet_is_applied_again() -> None:
    made = make(job(), seen(ObservedAttempt(number=1, leftovers=(("ConfigMap", "j-1"),))))
    assert made.run is not None
    assert made.run.attempt == 1


def test_what_attempt_1_froze_is_used_by_later_attempts() -> None:
    made = make(
        job(recorded=recorded(record(finished=NOW - timedelta(hours=1)))),
        replace(seen(), frozen=seen(attempt()).frozen),
    )
    assert made.run is not None
    assert (made.run.attempt, made.run.image, made.run.freeze) == (2, "old:1", False)


def test_the_pass_that_sees_a_failure_writes_it_down_and_deletes_nothing() -> None:
    failed = pod(
        1, running=False, phase="Failed", terminated="Error", exit_code=1, outcome=outcome(node_rank=1, rank=1, step=7)
    )
    made = make(job(), seen(attempt(1, pod(0), failed)))
    assert made.state == State.RESTARTING
    assert made.record is not None
    assert (made.record.number, made.record.reason, made.record.rank, made.record.step) == (1, "Crashed", 1, 7)
    assert (made.record.node, made.record.counted, made.obsolete, made.requeue_after) == ("node1", True, (), 0)


def test_the_next_pass_clears_up_the_pytorchjob_first() -> None:
    made = make(job(recorded=recorded(record())), seen(attempt()))
    assert made.state == State.RESTARTING
    assert made.obsolete == (("PyTorchJob", "j-1"), ("ConfigMap", "j-1"))
    assert made.run is None


@pytest.mark.parametrize(("failures", "seconds"), [(1, 10), (2, 20), (3, 40), (4, 60)])
def test_backoff_doubles_up_to_its_limit(failures: int, seconds: int) -> None:
    records = [record(number) for number in range(1, failures + 1)]
    made = make(job(recorded=recorded(*records), policy={"maxAttempts": 10}), Observed())
    assert (made.state, made.run, made.requeue_after) == (State.RESTARTING, None, seconds)
    later = make(
        job(recorded=recorded(*records), policy={"maxAttempts": 10}), Observed(), NOW + timedelta(seconds=seconds)
    )
    assert later.run is not None
    assert later.run.attempt == failures + 1


def test_what_is_told_of_a_backoff_is_the_same_in_every_pass_of_it() -> None:
    known = job(recorded=recorded(record()), policy={"maxAttempts": 10})
    messages = {make(known, Observed(), NOW + timedelta(seconds=seconds)).message for seconds in range(10)}
    assert len(messages) == 1
    assert "attempt 2 starts at" in messages.pop()


def test_children_of_an_attempt_with_a_record_go_while_a_later_one_lives() -> None:
    made = make(job(recorded=recorded(record())), seen(attempt(1), attempt(2)))
    assert (made.attempt, made.record) == (2, None)
    assert made.obsolete == (("PyTorchJob", "j-1"), ("ConfigMap", "j-1"))
    assert made.requeue_after is None or made.requeue_after > 0


def test_the_job_has_failed_when_no_attempt_is_left() -> None:
    made = make(job(recorded=recorded(record(1), record(2)), policy={"maxAttempts": 2}), seen(attempt(2)))
    assert made.state == State.FAILED
    assert made.obsolete[0] == ("PyTorchJob", "j-2")


def test_a_suspension_does_not_count() -> None:
    records = (record(1), record(2, reason="Suspended", counted=False))
    made = make(job(recorded=recorded(*records), policy={"maxAttempts": 2}), Observed())
    assert made.run is not None
    assert made.run.attempt == 3


def test_a_fault_that_another_attempt_cannot_mend_ends_the_job() -> None:
    made = make(job(recorded=recorded(record(retryable=False, reason="DataInvalid"))), Observed())
    assert (made.state, made.run) == (State.FAILED, None)


def test_success_counts_only_with_the_record_of_this_spec() -> None:
    done = pod(0, running=False, phase="Succeeded", terminated="Completed", exit_code=0)
    good = replace(done, outcome=outcome(result="succeeded", reason="Completed", step=30))
    made = make(job(), seen(attempt(1, good, pod(1), phase="Succeeded")))
    assert (made.state, made.record and made.record.reason) == (State.SUCCEEDED, "Succeeded")
    silent = make(job(), seen(attempt(1, done, pod(1), phase="Succeeded")))
    assert silent.record is not None
    assert (silent.record.reason, silent.record.counted) == ("NoCompletionRecord", True)
    foreign = replace(done, outcome=outcome(result="succeeded", reason="Completed", spec_hash="0"))
    wrong = make(job(), seen(attempt(1, foreign, pod(1), phase="Succeeded")))
    assert wrong.record is not None
    assert (wrong.record.reason, wrong.state) == ("WrongCompletion", State.FAILED)


def test_a_finished_job_keeps_its_logs_unless_all_pods_are_to_go() -> None:
    ended = recorded(record(reason="Succeeded", counted=False))
    kept = make(job(recorded=ended), seen(attempt(1, phase="Succeeded")))
    assert (kept.state, kept.obsolete) == (State.SUCCEEDED, ())
    gone = make(job(recorded=ended, policy={"cleanPods": "All"}), seen(attempt(1, phase="Succeeded")))
    assert gone.obsolete == (("PyTorchJob", "j-1"), ("ConfigMap", "j-1"))


@pytest.mark.parametrize(
    ("pods", "reason", "counted"),
    [
        ((pod(0),), "PodLost", True),
        ((pod(0), pod(1, uid="fresh")), "PodReplaced", True),
        ((pod(0), pod(1, deleting=True)), "PodDeleted", True),
        ((pod(0), pod(1, disruption="drained")), "Disrupted", False),
        ((pod(0), pod(1, deleting=True, disruption="drained")), "Disrupted", False),
        ((pod(0, deleting=True), pod(1, deleting=True, disruption="drained")), "Disrupted", False),
        ((pod(1, disruption="drained"),), "Disrupted", False),
    ],
)
def test_a_missing_or_foreign_pod_fails_the_attempt_at_once(
    pods: tuple[ObservedPod, ...], reason: str, counted: bool
) -> None:
    remembered = Recorded(pods={"j-1-master-0": "uid-0", "j-1-worker-0": "uid-1"})
    made = make(job(recorded=remembered), seen(attempt(1, *pods)))
    assert made.record is not None
    assert (made.record.reason, made.record.counted) == (reason, counted)


def test_of_pods_that_are_deleted_the_first_one_is_blamed() -> None:
    first, later = NOW + timedelta(seconds=60), NOW + timedelta(seconds=61)
    after = make(job(), seen(attempt(1, pod(0, deleting=True, gone_by=later), pod(1, deleting=True, gone_by=first))))
    assert after.record is not None
    assert (after.record.message, after.record.node) == ("pod j-1-worker-0 is being deleted", "node1")
    at_once = make(job(), seen(attempt(1, *(pod(rank, deleting=True, gone_by=first) for rank in (0, 1)))))
    assert at_once.record is not None
    assert at_once.record.message == "pods j-1-master-0 and j-1-worker-0 are being deleted"
    assert at_once.record.node is None, "times are whole seconds: nobody knows which one it was"


def test_the_cause_is_the_pod_that_knows_most() -> None:
    lost = pod(0, terminated="Error", exit_code=1, outcome=outcome(reason="PeerLost", rank=0))
    oom = pod(1, terminated="OOMKilled", exit_code=137)
    made = make(job(), seen(attempt(1, lost, oom, phase="Failed")))
    assert made.record is not None
    assert (made.record.reason, made.record.node) == ("OutOfMemory", "node1")
    assert (made.record.retryable, made.state) == (False, State.FAILED), "it would use as much again"
    assert "spec.resources.memory" in made.record.message


def test_the_log_of_a_pod_that_left_no_record_is_kept_beside_the_message() -> None:
    killed = pod(1, terminated="Error", exit_code=137, message="step 7\nstep 8\n")
    made = make(job(), seen(attempt(1, pod(0), killed, phase="Failed")))
    assert made.record is not None
    assert made.record.message == "pod j-1-worker-0 ended with exit code 137 (Error)"
    assert made.record.log_tail == "step 7\nstep 8"
    assert made.record.rank == 1
    several = make(job(resources={"nodes": 2, "processesPerNode": 2}), seen(attempt(1, pod(0), killed)))
    assert several.record is not None
    assert several.record.rank is None, "of two ranks nobody knows which one it was"


def test_a_pod_of_a_node_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    due = NOW + timedelta(seconds=60)
    stuck = attempt(1, pod(1, deleting=True, gone_by=due), exists=False, leftovers=(("Pod", "j-1-worker-0"),))
    ended = recorded(record(1, counted=False, reason="Disrupted"))
    patient = make(job(recorded=ended), seen(stuck), due)
    assert (patient.state, patient.run, patient.requeue_after) == (State.RESTARTING, None, SETTINGS.lost_pod_seconds)
    given_up = make(job(recorded=ended), seen(stuck), due + timedelta(seconds=SETTINGS.lost_pod_seconds))
    assert given_up.run is not None
    assert (given_up.run.attempt, given_up.obsolete) == (2, ())


@pytest.mark.parametrize(
    ("first", "second", "blamed"),
    [
        ({"reason": "Hang", "step": 8}, {"reason": "Hang", "step": 7}, "node1"),
        ({"reason": "Hang", "step": 7}, {"reason": "RankStopped", "step": 7}, "node1"),
        ({"reason": "PeerLost"}, {"reason": "Hang", "step": 7}, "node1"),
        ({"reason": "Hang", "step": 7}, {"reason": "Hang", "step": 7}, "node0"),
    ],
)
def test_of_nodes_that_hang_the_one_that_the_others_wait_for(
    first: dict[str, Any], second: dict[str, Any], blamed: str
) -> None:
    pods = [
        pod(rank, terminated="Error", exit_code=1, outcome=outcome(node_rank=rank, **said))
        for rank, said in enumerate((first, second))
    ]
    made = make(job(), seen(attempt(1, *pods, phase="Failed")))
    assert made.record is not None
    assert made.record.node == blamed


def test_a_reason_that_is_no_word_does_not_reach_status() -> None:
    odd = pod(0, terminated="Error", exit_code=1, outcome=outcome(reason="not a word; " * 100))
    made = make(job(), seen(attempt(1, odd, pod(1))))
    assert made.record is not None
    assert made.record.reason == "Crashed"


def test_suspending_writes_a_record_then_deletes_then_waits() -> None:
    wish = {"suspend": True}
    first = make(job(policy=wish), seen(attempt()))
    assert first.record is not None
    assert (first.record.reason, first.record.counted, first.state) == ("Suspended", False, State.SUSPENDED)
    ended = recorded(first.record)
    assert make(job(policy=wish, recorded=ended), seen(attempt())).obsolete[0] == ("PyTorchJob", "j-1")
    waiting = make(job(policy=wish, recorded=ended), Observed())
    assert (waiting.state, waiting.run) == (State.SUSPENDED, None)
    resumed = make(job(recorded=ended), Observed())
    assert resumed.run is not None
    assert resumed.run.attempt == 2


def test_a_job_that_is_created_suspended_starts_nothing() -> None:
    made = make(job(policy={"suspend": True}), Observed())
    assert (made.state, made.attempt, made.run) == (State.SUSPENDED, 0, None)


def test_pods_that_do_not_start_give_their_nodes_back() -> None:
    late = pod(1, started=None, running=False, phase="Pending", waiting="Unschedulable: 0/2 nodes")
    wanted = job(scheduling={"startTimeoutSeconds": 300})
    early = make(wanted, seen(attempt(1, pod(0), late)))
    assert (early.state, early.message, early.requeue_after) == (
        State.STARTING,
        "j-1-worker-0: Unschedulable: 0/2 nodes",
        300,
    )
    made = make(wanted, seen(attempt(1, pod(0), late)), NOW + timedelta(seconds=300))
    assert made.record is not None
    assert made.record.reason == "StartTimeout"
    assert "1 of 2 pods started" in made.record.message


def test_an_init_container_that_gives_up_is_no_attempt() -> None:
    given_up = pod(1, started=None, running=False, phase="Failed")
    made = make(job(), seen(attempt(1, pod(0), given_up, phase="Failed")))
    assert made.record is not None
    assert (made.record.reason, made.record.counted) == ("InitGaveUp", False)


def test_the_deadline_is_our_own_clock_from_first_admission() -> None:
    wanted = job(policy={"activeDeadlineSeconds": 3600}, recorded=Recorded(admitted=NOW - timedelta(seconds=3500)))
    assert make(wanted, seen(attempt())).requeue_after == 100
    made = make(wanted, seen(attempt()), NOW + timedelta(seconds=100))
    assert made.record is not None
    assert (made.record.reason, made.state) == ("DeadlineExceeded", State.FAILED)


def test_a_queue_holds_the_pytorchjob_and_may_take_its_pods() -> None:
    wanted = job(scheduling={"queue": "team-a"}, recorded=Recorded(pods={"j-1-master-0": "uid-0"}))
    created = make(job(scheduling={"queue": "team-a"}), Observed())
    assert created.run is not None
    assert (created.state, created.run.suspended) == (State.QUEUED, True)
    held = make(wanted, seen(replace(attempt(suspended=True), pods=())))
    assert (held.state, held.record, held.pods) == (State.QUEUED, None, {})


def test_a_deleted_pytorchjob_is_an_attempts_end() -> None:
    made = make(job(), seen(attempt(deleting=True)))
    assert made.record is not None
    assert made.record.reason == "PyTorchJobDeleted"


def test_the_record_knows_the_last_step_that_was_posted() -> None:
    progress = Progress(time=0.0, phase="training", step=12, total_steps=20, checkpoint_step=10)
    remembered = Recorded(pods={"j-1-master-0": "uid-0", "j-1-worker-0": "uid-1"})
    made = make(job(recorded=remembered), seen(attempt(1, pod(0)), progress=progress))
    assert made.record is not None
    assert (made.record.step, made.record.checkpoint_step) == (12, 10)


@pytest.mark.parametrize(("told", "posted"), [(10, 20), (20, 10), (20, None), (None, 20)])
def test_the_latest_checkpoint_counts_whoever_told_of_it(told: int | None, posted: int | None) -> None:
    lost = outcome(node_rank=1, rank=1, checkpoint_step=told)
    failed = pod(1, running=False, phase="Failed", terminated="Error", exit_code=1, outcome=lost)
    progress = Progress(time=0.0, phase="training", step=25, checkpoint_step=posted)
    made = make(job(), seen(attempt(1, pod(0), failed), progress=progress))
    assert made.record is not None
    assert made.record.checkpoint_step == 20
