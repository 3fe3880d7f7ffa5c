"""docs/security.md: the table of rights is that of the answers that are kept, and they are those that are wanted."""

import json

from dev import rights_table
from tests.cluster.can_i import QUESTIONS

ANSWERS = {
    "cluster": {
        "list pods": {"served": True, "other": True},
        "get pods": {"served": False, "other": False},
        "list namespaces": {"cluster": False},
    },
    "namespaced": {
        "list pods": {"served": True, "other": False},
        "get pods": {"served": False, "other": False},
        "list namespaces": {"cluster": True},
    },
}


def test_a_row_tells_what_may_be_done_where() -> None:
    rows = rights_table.table(ANSWERS).splitlines()[2:]
    assert rows == ["| `pods` | list | list | - | get |", "| `namespaces` | - | list | - | - |"]


def test_the_rest_of_the_page_stays() -> None:
    text = f"before\n{rights_table.BEGIN}old\n{rights_table.END}after\n"
    made = rights_table.page(text, ANSWERS)
    assert made.startswith("before\n")
    assert made.endswith("after\n")
    assert "old" not in made


def test_the_page_is_made_of_the_answers_that_are_kept() -> None:
    text = rights_table.PAGE.read_text(encoding="utf-8")
    assert text == rights_table.page(text, json.loads(rights_table.KEPT.read_text(encoding="utf-8")))


def test_the_answers_that_are_kept_are_those_that_are_wanted() -> None:
    kept = json.loads(rights_table.KEPT.read_text(encoding="utf-8"))
    assert kept == {
        mode: {question.text: question.expected(mode) for question in QUESTIONS} for mode in ("cluster", "namespaced")
    }
