"""docs/faults-operator.md: rows of what was measured."""

import json
from typing import Any

from dev import faults_operator_table, faults_table

RESULT: dict[str, Any] = {"fault": "watches are cut", "seed": 1, "seconds": 9.5, "calls": 300, "rest": 80}


def test_a_row_has_the_range_of_the_figures_and_the_first_seeds_words() -> None:
    other = {**RESULT, "seed": 0, "seconds": 8.0, "calls": 310, "rest": 80, "told": "quota | exceeded"}
    row = faults_operator_table.page(faults_table.merged([RESULT], [other])).splitlines()[-1]
    assert row == "| watches are cut | 2 | 8 to 9.5 | 300 to 310 | 80 | quota / exceeded |"


def test_a_job_that_went_with_its_namespace_has_no_seconds() -> None:
    ended = {key: value for key, value in RESULT.items() if key != "seconds"}
    assert faults_operator_table.page([ended]).splitlines()[-1] == "| watches are cut | 1 | - | 300 | 80 | - |"


def test_the_page_is_made_of_the_results_that_are_kept() -> None:
    results = json.loads(faults_operator_table.KEPT.read_text(encoding="utf-8"))
    assert faults_operator_table.PAGE.read_text(encoding="utf-8") == faults_operator_table.page(results)
