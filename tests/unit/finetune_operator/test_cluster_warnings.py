"""Events are asked for at a pace, and what was answered stands in between."""

from __future__ import annotations

from typing import Any

from finetune_operator.cluster.warnings import PAUSE_SECONDS, Warnings


class Events:
    """An API server with one message of each object, and a clock."""

    def __init__(self) -> None:
        self.said = {"a": "exceeded quota", "b": "too large"}
        self.asked: list[str] = []
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    async def request(self, _method: str, _path: str, *, query: Any = ()) -> dict[str, Any]:
        uid = query[0][1].partition(",")[0].removeprefix("involvedObject.uid=")
        self.asked.append(uid)
        return {"items": [{"message": self.said[uid]}] if uid in self.said else None}


async def test_two_jobs_at_once_are_one_question_and_each_gets_its_own_answer_in_time() -> None:
    events = Events()
    warnings = Warnings(events.request, clock=events.clock)
    assert await warnings.newest("team", "a", "FailedCreatePod") == "exceeded quota"
    assert await warnings.newest("team", "b", "FailedCreatePod") == ""
    assert await warnings.newest("team", "a", "FailedCreatePod") == "exceeded quota"
    assert events.asked == ["a"]
    events.now = PAUSE_SECONDS
    assert await warnings.newest("team", "b", "FailedCreatePod") == "too large"
    assert events.asked == ["a", "b"]


async def test_what_is_over_is_forgotten() -> None:
    events = Events()
    warnings = Warnings(events.request, clock=events.clock)
    await warnings.newest("team", "a", "FailedCreatePod")
    events.said, events.now = {}, PAUSE_SECONDS
    assert await warnings.newest("team", "a", "FailedCreatePod") == ""
    assert await warnings.newest("team", "a", "FailedCreatePod") == ""
