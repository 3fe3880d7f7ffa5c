"""All jobs again and again, but those that have ended and are as they were."""

from __future__ import annotations

import asyncio

from finetune_operator.cluster import ClusterError
from finetune_operator.names import Key
from finetune_operator.resync import Resync

A, B = Key("team", "a"), Key("team", "b")


class Rounds:
    """A sleep that ends only when the test lets it."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.begun = asyncio.Semaphore(0)
        self.next = asyncio.Semaphore(0)

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        self.begun.release()
        await self.next.acquire()


async def test_the_resync_adds_all_jobs_in_every_round_whatever_goes_wrong() -> None:
    rounds, added, now = Rounds(), list[Key](), 0.0
    answers = iter([[(A, "1"), (B, "1")], ClusterError("away"), [(A, "2")]])

    async def jobs() -> list[tuple[Key, str]]:
        answer = next(answers)
        if isinstance(answer, ClusterError):
            raise answer
        return answer

    resync = Resync(jobs, added.append, seconds=60, sleep=rounds.sleep, clock=lambda: now)
    resync.start()
    await rounds.begun.acquire()
    assert added == []
    seen = []
    for _ in range(3):
        rounds.next.release()
        await rounds.begun.acquire()
        seen.append(list(added))
    assert seen == [[A, B], [A, B], [A, B, A]]
    assert all(54 <= seconds <= 66 for seconds in rounds.asked)
    assert resync.alive
    now = 181.0
    assert not resync.alive
    await resync.stop()


async def test_a_job_that_rests_is_left_alone_until_it_is_another_version() -> None:
    rounds, added = Rounds(), list[Key]()
    versions = {A: "1", B: "1"}

    async def jobs() -> list[tuple[Key, str]]:
        return list(versions.items())

    resync = Resync(jobs, added.append, seconds=60, sleep=rounds.sleep)
    resync.rests(A, "1")
    resync.start()
    for expected, version in (([B], "1"), ([B, A, B], "2"), ([B, A, B, A, B], "2")):
        versions[A] = version
        await rounds.begun.acquire()
        rounds.next.release()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert added == expected
    assert not resync.is_resting(A)
    await resync.stop()


async def test_a_resync_that_crashed_is_not_alive() -> None:
    async def jobs() -> list[tuple[Key, str]]:
        raise KeyError("metadata")

    resync = Resync(jobs, lambda _key: None, seconds=0)
    resync.start()
    await asyncio.sleep(0.01)
    assert not resync.alive
    await resync.stop()
