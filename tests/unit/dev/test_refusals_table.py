"""docs/refusals.md is made of docs/refusals.json."""

import json

from dev import refusals_table


def test_the_page_is_made_of_the_answers_that_are_kept() -> None:
    answers = json.loads(refusals_table.KEPT.read_text(encoding="utf-8"))
    assert refusals_table.PAGE.read_text(encoding="utf-8") == refusals_table.page(answers)
    assert len(answers) >= 15


def test_the_same_words_are_quoted_once() -> None:
    answer = {
        "title": "No nodes",
        "changes": {"spec.resources.nodes": 0, "spec.model": None},
        "without": "no",
        "with": "no",
    }
    section = refusals_table.page([answer]).partition("## 1. ")[2]
    assert "spec.resources.nodes: 0\nspec.model: (left out)\n" in section
    assert section.count("no\n```") == 1
    assert "Alone and with the webhook" in section
