"""What becomes of LLaMA-Factory's own YAMLs: the page says it, and no file is refused without a reason of its own."""

import pytest
from tests.conformance import llamafactory_examples as table


@pytest.fixture(scope="module")
def examples() -> list[table.Example]:
    return list(table.examples())


def test_the_page_is_current(examples: list[table.Example]) -> None:
    page = table.HEAD + "".join(f"{example.line()}\n" for example in examples)
    assert table.PAGE.read_text(encoding="utf-8") == page, "write it anew: make examples"


def test_all_82_files_are_there_and_none_is_refused_for_unknown_keys(examples: list[table.Example]) -> None:
    assert len(examples) == 82
    assert [example.name for example in examples if any("unknown key" in why for why in example.reasons)] == []
