"""A FineTuneJob in every state, as the API server holds it: states/<state>.yaml, from tests/stories/states.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.golden.cases import HERE
from tests.stories import states

from finetune_operator.plan import State

FOLDER = HERE / "states"


@pytest.fixture(scope="module")
def objects() -> dict[str, states.Body]:
    return {name: states.held(body) for name, body in states.bodies().items()}


def test_the_recorded_objects_are_those_of_the_stories(
    objects: dict[str, states.Body], request: pytest.FixtureRequest
) -> None:
    files = {f"{name}.yaml": yaml.safe_dump(body, sort_keys=False, width=120) for name, body in objects.items()}
    if request.config.getoption("--update-golden"):
        _write(FOLDER, files)
    assert files == {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.yaml")}


def test_no_state_is_left_out(objects: dict[str, states.Body]) -> None:
    assert {body["status"].get("state") for body in objects.values()} == {None, *State}


def test_ready_stays_true_through_preparation_queue_and_suspension(objects: dict[str, states.Body]) -> None:
    for name in ("preparing", "preparation-tried-again", "queued", "evicted", "suspending", "suspended", "restarting"):
        [ready] = [one for one in objects[name]["status"]["conditions"] if one["type"] == "Ready"]
        assert ready["status"] == "True", name


def _write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    for stale in folder.glob("*.yaml"):
        stale.unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
