"""`make keys`: the table of keys, from the configuration's types and the tests' markers.

    python -m dev.keys_table            what has no test that shows it; 1 when there is any such key
    python -m dev.keys_table --write    docs/keys.md; with --check 1 when that is not current

A test shows a key with `@pytest.mark.shows("key", ...)`: two runs that differ in that key alone differ in what the key
is for, or the key is refused in words that say what to write instead.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Mapping

import pytest
from dev.environment import ROOT

PAGE = ROOT / "docs" / "keys.md"
HEAD = """# Keys of train.yaml

Every key that a LLaMA-Factory YAML can hold, in the groups of its argument classes, and the test that shows its effect
or its refusal. Made by `make keys` from the types in `finetune_trainer/config` and the tests' markers.

"""


class Markers:
    """A plugin of pytest that notes which test shows which key."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Look at every collected test."""
        for item in items:
            name = item.nodeid.partition("[")[0]
            for marker in item.iter_markers("shows"):
                for key in marker.args:
                    if name not in self.found.setdefault(key, []):
                        self.found[key].append(name)


def shown() -> dict[str, list[str]]:
    """Key -> the tests that show it, as `tests/...py::name`; collecting takes half a minute.

    Raises:
        RuntimeError: a test file can't be imported.
    """
    markers = Markers()
    folders = [str(ROOT / "tests" / part) for part in ("unit", "training")]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        ended = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *folders], plugins=[markers])
    if ended:
        raise RuntimeError(said.getvalue()[-2000:])
    return markers.found


def page(tests: Mapping[str, list[str]]) -> str:
    """The whole page, a table for each group."""
    from finetune_trainer.config.schema import describe
    from finetune_trainer.config.train_config import GROUPS

    parts = [HEAD]
    for attribute, group in GROUPS.items():
        parts.append(f"## {attribute.capitalize()}\n\n| key | effect | shown by |\n|---|---|---|\n")
        for name, field in group.model_fields.items():
            where = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in tests.get(name, [])[:2])
            parts.append(f"| `{name}` | {describe(field).replace('|', '/')} | {where} |\n")
        parts.append("\n")
    return "".join(parts).rstrip() + "\n"


def unshown(tests: Mapping[str, list[str]]) -> list[str]:
    """Keys that no test shows."""
    from finetune_trainer.config.train_config import FIELDS

    return [name for name in FIELDS if name not in tests]


def unknown(tests: Mapping[str, list[str]]) -> list[str]:
    """Keys that a test claims to show and that there are not."""
    from finetune_trainer.config.spellings import GONE, RENAMED
    from finetune_trainer.config.train_config import FIELDS

    return [name for name in tests if name not in FIELDS and name not in RENAMED and name not in GONE]


def main() -> int:
    """Write the page, or tell what is missing."""
    tests = shown()
    if "--check" in sys.argv and PAGE.read_text(encoding="utf-8") != page(tests):
        print(f"{PAGE.relative_to(ROOT)} is not current: make keys")
        return 1
    if "--write" in sys.argv:
        PAGE.write_text(page(tests), encoding="utf-8")
    for name in unshown(tests):
        print(f"{name}: no test shows it")
    for name in unknown(tests):
        print(f"{name}: no such key, but {tests[name][0]} shows it")
    return int(bool(unshown(tests) or unknown(tests)))


if __name__ == "__main__":
    sys.exit(main())
