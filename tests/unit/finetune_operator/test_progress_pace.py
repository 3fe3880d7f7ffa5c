"""From a post to the status: at most one write in `progress_seconds` for progress alone, and the last word arrives."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from tests.stories.fake_cluster import START, FakeCluster
from tests.stories.story import Story, job, nothing

from finetune_operator import intake
from finetune_operator.cluster import Speaker
from finetune_operator.names import Key
from finetune_operator.reconcile import reconcile
from finetune_trainer.records import Progress, to_kubeflow

POST_SECONDS = 5
"""As the supervisor posts."""
ECHO_SECONDS = 1
"""A status write comes back as an event, which is a pass: it must not write what was posted in between."""


class Operator:
    """The intake over real HTTP, and the passes that posts, writes and waits lead to, on the fake cluster's clock."""

    def __init__(self, story: Story) -> None:
        self.story, self.world = story, story.world
        self.due: dict[int, None] = {}
        self.writes: list[int] = []

    @property
    def now(self) -> int:
        return int((self.world.now - START).total_seconds())

    def accepted(self, _key: Key) -> None:
        self.due[self.now + self.story.settings.progress_seconds] = None

    async def second(self) -> None:
        """The passes of this second, then the next one begins."""
        if self.due.pop(self.now, 0) is None:
            before = [line for line in self.world.log if line.startswith("status")]
            wait = await reconcile(
                self.story.key, self.world, self.story.settings, self.story.progress, self.world.now
            )
            if len([line for line in self.world.log if line.startswith("status")]) > len(before):
                self.writes.append(self.now)
                self.due[self.now + ECHO_SECONDS] = None
            if wait:
                self.due[self.now + max(1, int(wait))] = None
        self.world.advance(1)


@pytest.fixture
async def operator() -> Operator:
    story = Story(job())
    await story.then(nothing, state="Starting")
    await story.then(lambda world: world.run(), state="Running")
    story.post(1, Progress(time=START.timestamp(), phase="training", step=1, total_steps=999))
    await story.rest()
    return Operator(story)


def body(operator: Operator, step: int) -> dict[str, Any]:
    time = operator.world.now.timestamp()
    return to_kubeflow(Progress(time=time, phase="training", step=step, total_steps=999, loss=1 / step))


async def test_progress_is_written_once_in_ten_seconds_and_its_end_too(operator: Operator) -> None:
    world, story = operator.world, operator.story
    world.tokens["token"] = Speaker(
        namespace="default", pod="demo-1-master-0", uid=world.pod("demo-1-master-0")["metadata"]["uid"]
    )

    def clock() -> float:
        return world.now.timestamp()

    app = intake.app(world, story.progress, operator.accepted, lambda _code: None, clock=clock, steady=clock)
    url, headers = "/v1/namespaces/default/jobs/demo/progress", {"Authorization": "Bearer token"}
    step = 0
    async with TestClient(TestServer(app)) as client:
        for second in range(120):
            if second % POST_SECONDS == 0:
                step = second + 2
                assert (await client.post(url, json=body(operator, step), headers=headers)).status == 200
            await operator.second()
        for _ in range(30):
            await operator.second()
    gaps = [late - early for early, late in zip(operator.writes, operator.writes[1:], strict=False)]
    assert len(operator.writes) >= 10
    assert min(gaps) >= story.settings.progress_seconds
    assert story.status["progress"]["step"] == step


async def test_what_is_more_than_progress_does_not_wait(operator: Operator) -> None:
    story = operator.story
    story.post(1, Progress(time=START.timestamp(), phase="training", step=7, total_steps=999))
    await story.one_pass()
    assert story.status["progress"]["step"] == 1
    lost = story.outcome("failed", "CudaError", attempt=1, step=7)
    await story.then(lambda world: world.end("demo-1-master-0", lost, exit_code=1, reason="Error"), state="Restarting")
    assert story.status["progress"]["step"] == 7
    assert isinstance(story.world, FakeCluster)
