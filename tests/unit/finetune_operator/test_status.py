"""What status says of a plan: conditions, reasons, progress, and when times move."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from finetune_operator import spec, status
from finetune_operator.observe import Frozen, Observed
from finetune_operator.plan import Plan, State
from finetune_operator.spec import AttemptRecord, FineTuneJob, Violation, recorded_from_status
from finetune_operator.status.progress import duration
from finetune_trainer.records import Progress

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
TRAINING = {
    "stage": "sft",
    "do_train": True,
    "model_name_or_path": "/m",
    "dataset": "d",
    "template": "qwen",
    "output_dir": "out",
}


def job(previous: dict[str, Any] | None = None, **fields: Any) -> FineTuneJob:
    metadata = {"name": "j", "namespace": "n", "uid": "u", "generation": 3}
    return spec.parse({"metadata": metadata, "spec": {"training": TRAINING, **fields}, "status": previous or {}})


def told(
    plan: Plan,
    previous: dict[str, Any] | None = None,
    observed: Observed | None = None,
    now: datetime = NOW,
    **fields: Any,
) -> dict[str, Any]:
    return status.of(job(previous, **fields), plan, observed or Observed(), now)


def conditions(said: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {condition["type"]: (condition["status"], condition["reason"]) for condition in said["conditions"]}


def refused(body: dict[str, Any], said: dict[str, Any], now: datetime) -> dict[str, Any]:
    return status.refused(body, said, "WebhookUnavailable", "the training operator does not answer", now)


def progress(**fields: Any) -> Progress:
    values = {"phase": "training", "step": 5, "total_steps": 20, "loss": 1.23456, "remaining_seconds": 200}
    return Progress(time=NOW.timestamp(), **{**values, **fields})


@pytest.mark.parametrize(
    "state", [State.QUEUED, State.STARTING, State.RUNNING, State.RESTARTING, State.SUSPENDED, State.SUCCEEDED]
)
def test_a_job_that_is_where_it_should_be_is_ready_for_kstatus(state: State) -> None:
    said = conditions(told(Plan(state=state, attempt=1)))
    assert said["Ready"] == ("True", state.value)
    assert "Stalled" not in said
    assert "Reconciling" not in said


def test_a_failed_job_is_stalled_for_kstatus_and_says_why() -> None:
    record = AttemptRecord(number=1, reason="DataInvalid", message="no rows", counted=True, retryable=False)
    said = told(Plan(state=State.FAILED, message="no rows", attempt=1, record=record))
    assert conditions(said)["Ready"] == ("False", "Failed")
    assert conditions(said)["Stalled"] == ("True", "Failed")
    assert conditions(said)["Succeeded"] == ("False", "DataInvalid")
    again = told(Plan(state=State.FAILED, message="no rows", attempt=1), said, now=NOW + timedelta(hours=1))
    assert again == said


def test_every_condition_carries_the_generation() -> None:
    said = told(Plan(state=State.RUNNING, attempt=1), observed=Observed(progress=progress()))
    assert said["observedGeneration"] == 3
    assert {condition["observedGeneration"] for condition in said["conditions"]} == {3}


def test_transition_times_move_only_when_the_status_flips() -> None:
    first = told(Plan(state=State.STARTING, attempt=1))
    later = told(Plan(state=State.RUNNING, attempt=1), first, now=NOW + timedelta(minutes=1))
    times = {condition["type"]: condition["lastTransitionTime"] for condition in later["conditions"]}
    assert times["Ready"] == "2026-01-01T12:00:00Z"
    assert times["PodsReady"] == "2026-01-01T12:01:00Z"
    assert (first["startTime"], later["startTime"]) == ("2026-01-01T12:00:00Z", "2026-01-01T12:00:00Z")


def test_progress_is_shown_in_strings_with_an_eta() -> None:
    said = told(Plan(state=State.RUNNING, attempt=1), observed=Observed(progress=progress(checkpoint_step=4)))
    shown = said["progress"]
    assert (shown["percentage"], shown["loss"], shown["eta"], shown["step"]) == ("25%", "1.2346", "3m 20s", 5)
    assert conditions(said)["Training"] == ("True", "Training")
    assert conditions(said)["CheckpointAvailable"] == ("True", "Saved")


def test_progress_outlives_the_operators_memory_but_an_ended_job_has_no_eta() -> None:
    running = told(Plan(state=State.RUNNING, attempt=1), observed=Observed(progress=progress()))
    restarted = told(Plan(state=State.RUNNING, attempt=1), running)
    assert restarted["progress"] == running["progress"]
    ended = told(Plan(state=State.SUSPENDED, attempt=1), running)
    assert "eta" not in ended["progress"]
    assert ended["progress"]["step"] == 5


def test_success_is_a_hundred_percent_in_every_later_pass() -> None:
    record = AttemptRecord(number=1, reason="Succeeded", message="", counted=False, step=20)
    seen = Observed(progress=progress(step=19))
    first = told(Plan(state=State.SUCCEEDED, attempt=1, record=record), observed=seen)
    assert first["progress"]["percentage"] == "100%"
    assert first["completionTime"] == "2026-01-01T12:00:00Z"
    again = told(Plan(state=State.SUCCEEDED, attempt=1), first, observed=seen, now=NOW + timedelta(hours=1))
    assert again == first


def test_an_attempts_record_is_kept_once() -> None:
    record = AttemptRecord(number=1, reason="Crashed", message="boom", counted=True, finished=NOW)
    first = told(Plan(state=State.RESTARTING, attempt=1, record=record))
    again = told(Plan(state=State.RESTARTING, attempt=1, record=replace(record, message="other")), first)
    assert [entry["message"] for entry in again["attempts"]] == ["boom"]
    assert recorded_from_status(again).attempts == (record,)


def test_every_failure_is_remembered_and_only_the_last_ones_with_their_logs() -> None:
    entries = [
        {"number": number, "reason": "Crashed", "message": "", "counted": number % 2 == 0, "logTail": "tail"}
        for number in range(1, 301)
    ]
    said = told(Plan(state=State.RESTARTING, attempt=300), {"attempts": entries})["attempts"]
    assert sum(entry["counted"] for entry in said) == 150
    assert len(said) == 250
    assert [entry["number"] for entry in said if "logTail" in entry] == [296, 297, 298, 299, 300]


def test_a_refusal_is_cut_to_what_the_schema_takes() -> None:
    many = tuple(Violation(path=f"spec.training.key_{number}", message="unknown key") for number in range(2000))
    said = status.rejected({"metadata": {"name": "j", "generation": 1}}, many, NOW)
    assert len(said["message"]) == 8192


def test_a_change_after_the_start_is_told_not_carried_out() -> None:
    frozen = Frozen(spec_hash="another", contract=1, image="i:1", nodes=1)
    said = told(Plan(state=State.RUNNING, attempt=1), observed=Observed(frozen=frozen))
    assert conditions(said)["Accepted"] == ("True", "ChangeIgnored")


def test_only_a_job_with_a_queue_speaks_of_admission() -> None:
    assert "Admitted" not in conditions(told(Plan(state=State.RUNNING, attempt=1)))
    queued = told(Plan(state=State.QUEUED, attempt=1), scheduling={"queue": "team-a"})
    assert conditions(queued)["Admitted"] == ("False", "Queued")


def test_a_rejected_job_is_stalled_and_keeps_what_was_known() -> None:
    body = {"metadata": {"name": "j", "generation": 4}, "status": {"attempts": [{"number": 1}], "attempt": 1}}
    said = status.rejected(body, (Violation(path="spec.training.learning_rat", message="unknown key"),), NOW)
    assert conditions(said) == {
        "Ready": ("False", "Invalid"),
        "Stalled": ("True", "Invalid"),
        "Accepted": ("False", "Invalid"),
    }
    assert said["conditions"][0]["message"] == "spec.training.learning_rat: unknown key"
    assert (said["observedGeneration"], said["attempts"]) == (4, [{"number": 1}])


def test_a_mended_job_is_no_longer_stalled() -> None:
    body = {"metadata": {"name": "j", "generation": 4}}
    wrong = status.rejected(body, (Violation(path="spec", message="wrong"),), NOW)
    mended = told(Plan(state=State.STARTING, attempt=1), wrong)
    assert "Stalled" not in conditions(mended)
    assert conditions(mended)["Accepted"] == ("True", "Accepted")


def test_a_child_that_the_api_server_refuses_is_told_as_reconciling_until_it_is_taken() -> None:
    said = told(Plan(state=State.STARTING, attempt=1))
    waiting = refused({}, said, NOW)
    assert conditions(waiting)["Reconciling"] == ("True", "WebhookUnavailable")
    assert conditions(waiting)["Ready"] == ("False", "WebhookUnavailable"), "`kubectl wait` must not call it ready"
    after = conditions(told(Plan(state=State.STARTING, attempt=1), waiting))
    assert "Reconciling" not in after
    assert after["Ready"] == ("True", "Starting")


def test_a_refusal_that_stays_is_written_once() -> None:
    """A write for each try would wake the next pass: the status of the second try is the first one's."""
    plan, later = Plan(state=State.STARTING, attempt=1), NOW + timedelta(seconds=30)
    first = refused({}, told(plan), NOW)
    assert refused({"status": first}, told(plan, first, now=later), later) == first


def test_suspended_is_true_when_the_nodes_are_free() -> None:
    ends = conditions(told(Plan(state=State.SUSPENDED, attempt=1, ends=True)))
    assert (ends["Suspended"], ends["Ready"]) == (("False", "Suspending"), ("True", "Suspended"))
    assert conditions(told(Plan(state=State.SUSPENDED, attempt=1)))["Suspended"] == ("True", "Suspended")


def test_a_merge_that_failed_says_nothing_against_the_preparation() -> None:
    plan = Plan(state=State.FAILED, attempt=1, reason="ModelInvalid", message="the base is quantised")
    assert "Prepared" not in conditions(told(plan))
    early = Plan(state=State.FAILED, reason="AccessDenied", message="the token is wrong")
    assert conditions(told(early))["Prepared"] == ("False", "AccessDenied")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (60, "1m 0s"), (3725, "1h 2m"), (100_000, "1d 3h")]
)
def test_durations_have_two_units(seconds: int, text: str) -> None:
    assert duration(seconds) == text
