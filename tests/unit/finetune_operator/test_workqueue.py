"""When a pass runs: one at a time per key, backoff, requeue, resync; on a clock that only the test moves."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from finetune_operator import workqueue
from finetune_operator.cluster import ClusterError
from finetune_operator.names import Key
from finetune_operator.workqueue import LONGEST_BACKOFF, Lane, Pass, WorkQueue

A, B = Key("team", "a"), Key("team", "b")


class Alarm:
    """A call that is due at a time."""

    def __init__(self, due: float, callback: Callable[[Key], object], key: Key) -> None:
        self._due, self.callback, self.key, self.cancelled = due, callback, key, False

    def when(self) -> float:
        return self._due

    def cancel(self) -> None:
        self.cancelled = True


class HandClock:
    """Stands still until `advance`."""

    def __init__(self) -> None:
        self.now = 0.0
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[Key], object], key: Key, /) -> Alarm:
        alarm = Alarm(self.now + delay, callback, key)
        heapq.heappush(self._alarms, (alarm.when(), next(self._order), alarm))
        return alarm

    def advance(self, seconds: float) -> None:
        self.now += seconds
        while self._alarms and self._alarms[0][0] <= self.now:
            alarm = heapq.heappop(self._alarms)[2]
            if not alarm.cancelled:
                alarm.callback(alarm.key)

    def next_alarm(self) -> float | None:
        """Seconds until the next call that still counts."""
        due = [when for when, _, alarm in self._alarms if not alarm.cancelled]
        return min(due) - self.now if due else None


@asynccontextmanager
async def started(one_pass: Pass, clock: HandClock, concurrency: int = 2) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue(concurrency=concurrency, clock=clock)
    queue.start(one_pass)
    try:
        yield queue
    finally:
        await queue.stop()


class Gate:
    """A pass that waits until it is let through, and counts who is inside."""

    def __init__(self) -> None:
        self.started: list[Key] = []
        self.inside: list[Key] = []
        self.most: dict[Key, int] = {}
        self.most_in_all = 0
        self.entered = asyncio.Semaphore(0)
        self.leave = asyncio.Semaphore(0)

    async def one_pass(self, key: Key) -> None:
        self.started.append(key)
        self.inside.append(key)
        self.most[key] = max(self.most.get(key, 0), self.inside.count(key))
        self.most_in_all = max(self.most_in_all, len(self.inside))
        self.entered.release()
        await self.leave.acquire()
        self.inside.remove(key)


async def test_many_adds_before_a_pass_are_one_pass() -> None:
    passes: list[Key] = []

    async def one_pass(key: Key) -> None:
        passes.append(key)

    async with started(one_pass, HandClock()) as queue:
        for _ in range(5):
            queue.add(A)
        queue.add(B)
        assert len(queue) == 2
        await queue.idle()
    assert sorted(passes) == [A, B]


async def test_adds_during_a_pass_run_it_once_more_afterwards_and_never_beside_it() -> None:
    gate = Gate()
    async with started(gate.one_pass, HandClock()) as queue:
        queue.add(A)
        await gate.entered.acquire()
        for _ in range(3):
            queue.add(A)
        assert gate.started == [A]
        for _ in range(2):
            gate.leave.release()
        await queue.idle()
    assert gate.started == [A, A]
    assert gate.most[A] == 1


async def test_other_keys_run_beside_it_up_to_the_concurrency() -> None:
    gate = Gate()
    keys = [Key("team", str(number)) for number in range(5)]
    async with started(gate.one_pass, HandClock(), concurrency=2) as queue:
        for key in keys:
            queue.add(key)
        await gate.entered.acquire()
        await gate.entered.acquire()
        for _ in keys:
            gate.leave.release()
        await queue.idle()
    assert gate.most_in_all == 2
    assert sorted(gate.started) == keys


async def test_a_pass_asks_for_the_next_one_itself() -> None:
    passes: list[float] = []
    clock = HandClock()

    async def one_pass(key: Key) -> float | None:
        passes.append(clock.now)
        return 30.0 if len(passes) == 1 else None

    async with started(one_pass, clock) as queue:
        queue.add(A)
        await queue.idle()
        clock.advance(29)
        await queue.idle()
        assert passes == [0.0]
        clock.advance(1)
        await queue.idle()
    assert passes == [0.0, 30.0]
    assert clock.next_alarm() is None


async def test_of_two_wishes_the_earlier_stands_and_a_pass_in_between_cancels_it() -> None:
    clock = HandClock()

    async def one_pass(key: Key) -> None:
        return None

    async with started(one_pass, clock) as queue:
        queue.add_after(A, 10)
        queue.add_after(A, 60)
        assert clock.next_alarm() == 10
        queue.add_after(A, 5)
        assert clock.next_alarm() == 5
        queue.add(A)
        await queue.idle()
        assert clock.next_alarm() is None


async def test_backoff_doubles_is_bounded_and_forgotten_after_success() -> None:
    clock, waits, healthy = HandClock(), list[float | None](), False

    async def one_pass(key: Key) -> None:
        if not healthy:
            raise ClusterError("the API server is away")

    async with started(one_pass, clock) as queue:
        queue.add(A)
        for _ in range(10):
            await queue.idle()
            wait = clock.next_alarm()
            waits.append(wait)
            clock.advance(wait or 0)
        assert waits[:4] == [1, 2, 4, 8]
        assert waits[-1] == LONGEST_BACKOFF
        await queue.idle()
        healthy = True
        queue.add(A)
        await queue.idle()
        assert clock.next_alarm() is None
        healthy = False
        queue.add(A)
        await queue.idle()
        assert clock.next_alarm() == 1


@pytest.mark.parametrize(("asked", "waits"), [(17, [17, 17, 17, 17, 17, 32]), (1, [1, 2, 4, 8]), (0, [1, 2, 4])])
async def test_no_try_comes_before_the_api_servers_own_wish_nor_before_the_backoff(
    asked: int, waits: list[int]
) -> None:
    clock, seen = HandClock(), list[float | None]()

    async def one_pass(key: Key) -> None:
        raise ClusterError("too many requests", retry_after=asked)

    async with started(one_pass, clock) as queue:
        queue.add(A)
        for _ in waits:
            await queue.idle()
            seen.append(clock.next_alarm())
            clock.advance(seen[-1] or 0)
    assert seen == waits


async def test_a_queue_that_was_stopped_can_be_started_again() -> None:
    clock, passes = HandClock(), list[Key]()

    async def one_pass(key: Key) -> None:
        passes.append(key)

    queue = WorkQueue(concurrency=1, clock=clock)
    queue.start(one_pass)
    queue.add_after(A, 10)
    await queue.stop()
    queue.start(one_pass)
    queue.add_after(A, 20)
    clock.advance(20)
    await queue.idle()
    await queue.stop()
    assert passes == [A]


async def test_a_bug_in_a_pass_ends_neither_the_worker_nor_the_job(caplog: pytest.LogCaptureFixture) -> None:
    clock, results = HandClock(), list[str]()

    async def one_pass(key: Key) -> None:
        if not results:
            raise KeyError("status")

    queue = WorkQueue(concurrency=1, clock=clock, finished=lambda result, _seconds: results.append(result))
    queue.start(one_pass)
    queue.add(A)
    await queue.idle()
    assert queue.alive
    clock.advance(clock.next_alarm() or 0)
    await queue.idle()
    await queue.stop()
    assert results == ["crash", "ok"]
    assert "team/a: a bug in a pass" in caplog.text


async def test_stopping_ends_a_pass_that_waits_and_the_queue_is_no_longer_alive() -> None:
    gate = Gate()
    queue = WorkQueue(concurrency=1, clock=HandClock())
    assert not queue.alive
    queue.start(gate.one_pass)
    queue.add(A)
    await gate.entered.acquire()
    assert queue.alive
    await queue.stop()
    assert not queue.alive


async def test_who_waits_for_an_answer_goes_first_and_who_rests_goes_last() -> None:
    gate = Gate()
    first, changed, asked, rests = (Key("team", name) for name in ("first", "changed", "asked", "rests"))
    async with started(gate.one_pass, HandClock(), concurrency=1) as queue:
        queue.add(first)
        await gate.entered.acquire()
        queue.add(changed)
        queue.add(asked, Lane.ASKED)
        for _ in range(3):
            gate.leave.release()
        await queue.idle()
        assert gate.started == [first, asked, changed]
        queue.add(rests, Lane.RESTING)
        assert len(queue) == 0
        queue.add(rests, Lane.ASKED)
        assert len(queue) == 1
        gate.leave.release()
        await queue.idle()
    assert gate.started == [first, asked, changed, rests]


async def test_those_that_rest_wait_together_while_the_api_server_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workqueue, "RESTING_TROUBLE", 0.2)
    tried, away = list[Key](), True

    async def one_pass(key: Key) -> None:
        tried.append(key)
        if away:
            raise ClusterError("the API server is away")

    clock = HandClock()
    async with started(one_pass, clock) as queue:
        queue.add(A, Lane.RESTING)
        queue.add(B, Lane.RESTING)
        await asyncio.sleep(0.1)
        assert tried == [A]
        assert clock.next_alarm() is None
        away = False
        await queue.idle()
    assert tried == [A, B, A]


async def test_those_that_rest_are_looked_at_together_before_their_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workqueue, "RESTING_TROUBLE", 0.0)
    monkeypatch.setattr(workqueue, "TOGETHER", 2)
    said, away = list[object](), [ClusterError("the API server is away")]

    async def look_ahead(keys: Sequence[Key]) -> None:
        if away:
            raise away.pop()
        said.append(list(keys))

    async def one_pass(key: Key) -> None:
        said.append(key)

    queue, third = WorkQueue(concurrency=1, clock=HandClock()), Key("team", "c")
    for key in (A, B, third):
        queue.add(key, Lane.RESTING)
    queue.start(one_pass, look_ahead)
    await queue.idle()
    await queue.stop()
    assert said == [[A, B], A, B, [third], third]
