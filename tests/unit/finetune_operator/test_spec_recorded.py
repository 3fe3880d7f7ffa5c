"""What status remembers: both directions, and odd content."""

from datetime import UTC, datetime

import pytest

from finetune_operator.spec import (
    AttemptRecord,
    Recorded,
    attempt_from_status,
    attempt_to_status,
    parse,
    pods_to_status,
    recorded_from_status,
    to_time,
)
from finetune_operator.spec.recorded import QueueRecord, queue_from_status, queue_to_status


def test_an_attempt_survives_the_round_trip() -> None:
    start, finish = datetime(2026, 1, 31, 12, tzinfo=UTC), datetime(2026, 1, 31, 13, 30, 5, tzinfo=UTC)
    full = AttemptRecord(
        number=2,
        reason="OutOfMemory",
        message="rank 3 ran out of memory",
        counted=True,
        started=start,
        finished=finish,
        retryable=False,
        rank=0,
        node="node-a",
        step=0,
        checkpoint_step=100,
        log_tail="...",
        gpus=16,
        lost_seconds=90,
    )
    bare = AttemptRecord(number=1, reason="Suspended", message="", counted=False)
    for record in (full, bare):
        assert attempt_from_status(attempt_to_status(record)) == record
    assert attempt_to_status(full)["finishTime"] == "2026-01-31T13:30:05Z"
    assert attempt_to_status(bare).keys() == {"number", "reason", "message", "counted", "retryable"}


def test_status_is_remembered() -> None:
    record = AttemptRecord(number=1, reason="PodLost", message="m", counted=True)
    moment = datetime(2026, 1, 31, tzinfo=UTC)
    status = {
        "attempts": [attempt_to_status(record)],
        "pods": pods_to_status({"b": "2", "a": "1"}),
        "admittedTime": to_time(moment),
    }
    spec = {"training": {"model_name_or_path": "m", "dataset": "d"}}
    job = parse({"metadata": {"name": "job"}, "spec": spec, "status": status})
    assert job.recorded == Recorded(attempts=(record,), pods={"a": "1", "b": "2"}, admitted=moment, status=status)


@pytest.mark.parametrize("status", [None, {}, [], "x", {"attempts": None, "pods": {}, "admittedTime": 3}])
def test_an_empty_or_odd_status_remembers_nothing(status: object) -> None:
    recorded = recorded_from_status(status)
    assert (recorded.attempts, recorded.pods, recorded.admitted) == ((), {}, None)


def test_odd_entries_of_a_status_are_left_out() -> None:
    status = {
        "attempts": [
            {"number": 2, "rank": "x", "startTime": "yesterday", "gpus": "8", "lostSeconds": None},
            {"number": 1},
            "x",
            {"reason": "A"},
            {"number": True},
        ],
        "pods": [{"name": "a", "uid": "1"}, {"name": "b"}, "x"],
        "admittedTime": "2026-01-31T12:00:00",
    }
    recorded = recorded_from_status(status)
    assert [record.number for record in recorded.attempts] == [1, 2]
    assert recorded.attempts[1] == AttemptRecord(number=2, reason="Unknown", message="", counted=True)
    assert (recorded.pods, recorded.admitted) == ({"a": "1"}, None)


def test_what_is_known_of_a_queue_survives() -> None:
    record = QueueRecord(
        name="team-a",
        state="Evicted",
        workload="pytorchjob-demo-1-a1b2c",
        cluster_queue="gpus",
        flavors=("a100", "cpu"),
        position=2,
        position_in_cluster_queue=5,
        admission="2026-01-01T00:00:00Z",
        admissions=1,
        evictions=1,
        since=datetime(2026, 1, 1, 1, tzinfo=UTC),
        waited_seconds=77,
    )
    assert queue_from_status(queue_to_status(record)) == record
    assert queue_from_status(queue_to_status(QueueRecord())) == QueueRecord()
    assert queue_from_status(None) is None
