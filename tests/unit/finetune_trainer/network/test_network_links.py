"""Which links are tried when, and what their figures mean."""

from __future__ import annotations

import pytest

from finetune_trainer.network import Link, findings
from finetune_trainer.network.links import rounds


@pytest.mark.parametrize("nodes", [2, 3, 4, 5, 8, 9])
def test_every_link_of_the_ring_once_and_no_node_twice_in_a_round(nodes: int) -> None:
    found = rounds(nodes)
    links = [link for turn in found for link in turn]
    assert sorted(map(sorted, links)) == sorted(map(sorted, {frozenset((n, (n + 1) % nodes)) for n in range(nodes)}))
    for turn in found:
        busy = [node for link in turn for node in link]
        assert len(busy) == len(set(busy))
    assert len(found) == (1 if nodes == 2 else 2 + nodes % 2)


def test_a_slow_node_is_named_and_its_neighbours_are_not() -> None:
    found = findings(4, {Link(0, 1): 10.0, Link(1, 2): 2.0, Link(2, 3): 2.5, Link(3, 0): 11.0})
    assert found.bandwidth == (11.0, 10.0, 2.5, 11.0)
    assert (found.slow, found.deaf, found.broken) == ((2,), (), ())


def test_of_two_nodes_neither_is_called_slow() -> None:
    assert findings(2, {Link(0, 1): 0.1}).slow == ()


def test_a_deaf_node_is_named_and_its_neighbours_are_not() -> None:
    found = findings(4, {Link(0, 1): 10.0, Link(1, 2): None, Link(2, 3): None, Link(3, 0): 10.0})
    assert (found.deaf, found.broken, found.slow) == ((2,), (), ())


def test_a_link_between_nodes_that_others_reach_is_named_itself() -> None:
    found = findings(4, {Link(0, 1): 10.0, Link(1, 2): None, Link(2, 3): 10.0, Link(3, 0): 10.0})
    assert (found.deaf, found.broken) == ((), (Link(1, 2),))


def test_of_two_nodes_that_do_not_reach_each_other_both_are_deaf() -> None:
    assert findings(2, {Link(0, 1): None}).deaf == (0, 1)
