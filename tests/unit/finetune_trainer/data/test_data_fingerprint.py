"""The short name of rows: the same for the same rows, another one for others."""

from __future__ import annotations

from datasets import Dataset

from finetune_trainer.data import fingerprint


def rows(count: int, *, last: int = 0) -> Dataset:
    return Dataset.from_dict({"input_ids": [[number, last if number == count - 1 else 1] for number in range(count)]})


def test_the_same_rows_have_the_same_name_wherever_they_lie() -> None:
    assert fingerprint(rows(500)) == fingerprint(rows(500))
    assert fingerprint(rows(500)).startswith("500 rows (")


def test_other_rows_have_another_name() -> None:
    assert len({fingerprint(rows(count, last=last)) for count in (1, 63, 64, 65, 500) for last in (0, 7)}) == 10


def test_no_rows_have_a_name_too() -> None:
    assert fingerprint(rows(0)).startswith("0 rows (")
