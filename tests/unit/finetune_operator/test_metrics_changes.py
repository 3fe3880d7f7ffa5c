"""What of a status is counted: attempts that ended since the one before it, and waits that are over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.exposition import generate_latest

from finetune_operator import metrics
from finetune_operator.metrics import changes
from finetune_operator.metrics.over_time import MOST_REASONS
from finetune_operator.names import Key

KEY = Key("team", "a")


def attempt(number: int, reason: str = "PodLost", **more: Any) -> dict[str, Any]:
    """An hour on 16 GPUs."""
    times = {"startTime": "2026-01-01T00:00:00Z", "finishTime": "2026-01-01T01:00:00Z"}
    return {"number": number, "reason": reason, **times, "gpus": 16, "lostSeconds": 600, **more}


def after(*attempts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"state": "Running", "attempts": list(attempts), **more}


def queue(**said: Any) -> dict[str, Any]:
    return {"state": "Queued", "queue": {"name": "q", "admissions": 0, **said}}


WAITING = queue(since="2026-01-01T00:00:00Z")
ADMITTED = queue(admissions=1, admittedTime="2026-01-01T00:10:00Z")


SUMS = ("attempts_total", "gpu_seconds_total", "gpu_seconds_lost_total")
SUMS += ("queue_wait_seconds_count", "queue_wait_seconds_sum")


def told(*statuses: dict[str, Any] | None) -> dict[str, float]:
    """Series that add up, after one job's statuses; zeros are left out."""
    counted = metrics.Metrics()
    for status in statuses:
        counted.job(KEY, status)
    return dict(_series(counted))


def _series(counted: metrics.Metrics) -> Iterator[tuple[str, float]]:
    for family in counted.registry.collect():
        for one in family.samples:
            name = one.name.removeprefix("finetune_operator_")
            labels = ",".join(f'{label}="{value}"' for label, value in sorted(one.labels.items()))
            if name in SUMS and one.value:
                yield f"{name}{{{labels}}}", one.value


HOUR_OF_16 = {
    'attempts_total{namespace="team",reason="PodLost"}': 1.0,
    'gpu_seconds_total{namespace="team"}': 57_600.0,
    'gpu_seconds_lost_total{namespace="team"}': 9_600.0,
}


def test_an_attempt_is_counted_when_it_ends_and_once() -> None:
    ended = after(attempt(1))
    assert told({}, after(), ended, ended, {**ended, "state": "Failed"}) == HOUR_OF_16


def test_what_the_first_status_tells_was_counted_before() -> None:
    ended = after(attempt(1, "Disrupted"))
    assert told(ended, ended) == {}
    assert told(ended, after(attempt(1, "Disrupted"), attempt(2))) == HOUR_OF_16


def test_several_attempts_between_two_statuses_are_all_counted() -> None:
    series = told({}, after(attempt(1), attempt(2, "Succeeded", lostSeconds=0)))
    assert series['attempts_total{namespace="team",reason="Succeeded"}'] == 1
    assert series['gpu_seconds_total{namespace="team"}'] == 2 * 57_600
    assert series['gpu_seconds_lost_total{namespace="team"}'] == 9_600


def test_a_job_of_the_same_name_is_another_one() -> None:
    series = told({}, after(attempt(1)), None, {}, after(attempt(1)))
    assert series['attempts_total{namespace="team",reason="PodLost"}'] == 2


def test_the_series_of_a_namespace_begin_at_0() -> None:
    counted = metrics.Metrics()
    counted.job(KEY, {})
    lines = generate_latest(counted.registry).decode().splitlines()
    assert 'finetune_operator_gpu_seconds_total{namespace="team"} 0.0' in lines
    assert 'finetune_operator_gpu_seconds_lost_total{namespace="team"} 0.0' in lines


@pytest.mark.parametrize(
    "odd",
    [
        {"attempts": "x"},
        {"attempts": ["x", None, {"number": "1"}, {"number": -1}]},
        {"attempts": None, "queue": "x"},
        {"queue": {"since": 3, "admissions": "x"}},
    ],
)
def test_an_odd_status_counts_nothing(odd: dict[str, Any]) -> None:
    assert told({}, odd, {}) == {}


def test_odd_times_ruin_no_sum() -> None:
    back = attempt(1, startTime="2026-01-02T00:00:00Z")
    unsaid = attempt(2, startTime=None)
    far = attempt(3, finishTime="9999-01-01T00:00:00Z")
    [of_back, of_unsaid, of_far] = changes.ended(after(back, unsaid, far), 0)
    assert (of_back.gpu_seconds, of_back.lost_gpu_seconds, of_unsaid.gpu_seconds) == (0, 0, 0)
    assert of_far.gpu_seconds == 16 * changes.LONGEST_SECONDS
    [more] = changes.ended(after(attempt(1, lostSeconds=10**9)), 0)
    assert more.lost_gpu_seconds == more.gpu_seconds, "no more is lost than was used"


def test_reasons_that_pods_think_of_are_so_many_and_no_more() -> None:
    counted = metrics.Metrics()
    counted.job(KEY, {})
    numbers = range(1, MOST_REASONS + 10)
    counted.job(KEY, after(*(attempt(number, f"R{number}") for number in numbers)))
    counted.job(KEY, after(attempt(MOST_REASONS + 20, "R1")))
    found = {name for name, _ in _series(counted) if name.startswith("attempts_total")}
    assert len(found) == MOST_REASONS + 1
    assert 'attempts_total{namespace="team",reason="Other"}' in found


TEN_MINUTES = {
    'queue_wait_seconds_count{namespace="team",queue="q"}': 1.0,
    'queue_wait_seconds_sum{namespace="team",queue="q"}': 600.0,
}


def test_a_wait_ends_with_its_admission_and_is_counted_once() -> None:
    assert told({}, WAITING, WAITING, ADMITTED, ADMITTED) == TEN_MINUTES


def test_a_wait_that_another_operator_saw_begin_is_counted_at_its_end() -> None:
    assert told(WAITING, ADMITTED) == TEN_MINUTES
    assert told(ADMITTED) == {}


def test_admitted_and_still_held_is_no_end_yet() -> None:
    held = queue(since="2026-01-01T00:00:00Z", admissions=1, admittedTime="2026-01-01T00:10:00Z")
    assert changes.waited(changes.waiting(WAITING), held) is None


def test_the_wait_after_an_eviction_is_one_of_its_own() -> None:
    evicted = queue(since="2026-01-01T05:00:00Z", admissions=1, admittedTime="2026-01-01T00:10:00Z")
    again = queue(admissions=2, admittedTime="2026-01-01T05:01:00Z")
    assert told(WAITING, ADMITTED, evicted, again)['queue_wait_seconds_sum{namespace="team",queue="q"}'] == 660
    assert told(WAITING, evicted, again)['queue_wait_seconds_sum{namespace="team",queue="q"}'] == 660, "one was missed"


def test_who_leaves_the_queue_otherwise_has_not_waited() -> None:
    assert told(WAITING, {**queue(), "state": "Suspended"}) == {}
    evicted = queue(since="2026-01-01T05:00:00Z", admissions=1, admittedTime="2026-01-01T00:10:00Z")
    assert told(evicted, {**ADMITTED, "state": "Suspended"}) == {}


def test_kueues_clock_may_be_behind() -> None:
    early = queue(admissions=1, admittedTime="2025-12-31T23:59:59Z")
    assert told(WAITING, early) == {'queue_wait_seconds_count{namespace="team",queue="q"}': 1.0}


def test_little_is_kept_of_a_job_that_has_ended() -> None:
    counted = metrics.Metrics()
    long = after(*(attempt(number, message="x" * 1000) for number in range(1, 50)), state="Failed")
    counted.job(KEY, {**long, "queue": {"name": "q", "admissions": 3}})
    kept = counted._over_time  # nobody else can tell what it holds
    assert (kept._newest, kept._waiting) == ({KEY: 49}, {})
    counted.job(KEY, None)
    assert (kept._newest, kept._waiting) == ({}, {})
