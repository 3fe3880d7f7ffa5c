"""Every example is rendered as the files in tests/golden/<example>/ say."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.golden.cases import EXAMPLES, HERE, rendered


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_rendered_as_expected(example: Path, request: pytest.FixtureRequest) -> None:
    folder, files = HERE / example.stem, rendered(example)
    if request.config.getoption("--update-golden"):
        _write(folder, files)
    expected = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*"))}
    assert files == expected


def test_every_golden_folder_has_an_example() -> None:
    folders = {path.name for path in HERE.iterdir() if (path / "children.yaml").exists()}
    assert folders == {example.stem for example in EXAMPLES}


def _write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    for stale in folder.glob("*"):
        stale.unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
