"""The operator's log tells what each pass did to which attempt."""

from __future__ import annotations

import logging

import pytest
from tests.stories.story import Story, job, nothing


async def test_a_restart_can_be_followed_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    story = Story(job())
    await story.then(nothing, state="Starting")
    await story.then(lambda world: world.run(), state="Running")
    await story.then(lambda world: world.vanish("demo-1-master-0"), state="Restarting")
    lines = [record for record in caplog.records if record.name == "finetune_operator.reconcile"]
    said = [(vars(record)["job"], vars(record)["attempt"], record.getMessage()) for record in lines]
    assert ("demo", 1, "default/demo: applied PyTorchJob demo-1") in said
    assert ("demo", 1, "default/demo: deleted PyTorchJob demo-1") in said
    [ended] = [record for record in lines if "attempt 1 ended" in record.getMessage()]
    assert ended.levelno == logging.WARNING
    assert len({message for _, _, message in said}) == len(said), "nothing twice"
