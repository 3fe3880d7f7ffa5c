"""docs/faults.md: rows of what was measured."""

import json
from typing import Any

from dev import faults_table

RESULT: dict[str, Any] = {
    "fault": "a rank is killed",
    "seed": 1,
    "step": 12,
    "reason": "Crashed",
    "rank": 1,
    "node": "node2",
    "message": "rank 1 was ended | by SIGKILL",
    "counted": True,
    "lost": 2,
    "seconds": 4.5,
    "difference": 2e-7,
}


def test_a_row_has_the_first_seeds_words_and_the_range_of_the_figures() -> None:
    other = {**RESULT, "seed": 0, "step": 20, "message": "first", "lost": 4, "seconds": 3.0, "difference": 1e-6}
    row = faults_table.page(faults_table.merged([RESULT], [other])).splitlines()[-1]
    assert row == (
        "| a rank is killed | 0 (step 20), 1 (step 12) | Crashed | first | rank 1, node2 | yes | 2 to 4 | 3 to 4.5 |"
        " 1e-06 |"
    )


def test_a_fault_that_is_not_retried_says_so() -> None:
    ended = {key: value for key, value in RESULT.items() if key not in {"lost", "seconds", "difference"}}
    row = faults_table.page([{**ended, "rank": None, "message": "x" * 1000}]).splitlines()[-1]
    assert "| node2 | yes | not retried | - | - |" in row
    assert len(row) < 400


def test_a_message_cannot_break_the_table() -> None:
    row = faults_table.page([RESULT]).splitlines()[-1]
    assert "ended / by SIGKILL" in row


def test_a_new_result_takes_the_place_of_the_same_fault_and_seed_only() -> None:
    other, anew = {**RESULT, "seed": 0}, {**RESULT, "seconds": 9.0}
    assert faults_table.merged([RESULT, other], [anew]) == [other, anew]


def test_the_page_is_made_of_the_results_that_are_kept() -> None:
    results = json.loads(faults_table.KEPT.read_text(encoding="utf-8"))
    assert faults_table.PAGE.read_text(encoding="utf-8") == faults_table.page(results)
