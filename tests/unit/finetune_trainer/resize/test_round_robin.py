"""Where ZeRO-2 puts weights that it deals round the ranks."""

from __future__ import annotations

import pytest

from finetune_trainer.resize.round_robin import slices

LENGTHS = {"a": 3, "c": 4, "b": 2, "d": 1}
"""a, b, c, d dealt round two ranks: a and c, then b and d. Ten elements, in parts of six."""


def test_weights_lie_one_after_the_other_and_are_cut_where_a_part_ends() -> None:
    none = [0, 0, 0, 0]
    assert slices(LENGTHS, none, size=6, rank=0) == {"a": (0, 3), "c": (3, 3)}
    assert slices(LENGTHS, none, size=6, rank=1) == {"c": (0, 1), "b": (1, 2), "d": (3, 1)}


def test_places_left_free_belong_to_nobody() -> None:
    assert slices(LENGTHS, [1, 0, 2, 0], size=7, rank=0) == {"a": (0, 3), "c": (4, 3)}
    assert slices(LENGTHS, [1, 0, 2, 0], size=7, rank=1) == {"c": (0, 1), "b": (1, 2), "d": (5, 1)}


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_every_element_is_somewhere_and_only_there(ranks: int) -> None:
    size = -(-sum(LENGTHS.values()) // ranks)
    parts = [slices(LENGTHS, [0, 0, 0, 0], size=size, rank=rank) for rank in range(ranks)]
    for name, length in LENGTHS.items():
        assert sum(part[name][1] for part in parts if name in part) == length
    assert all(start + length <= size for part in parts for start, length in part.values())
