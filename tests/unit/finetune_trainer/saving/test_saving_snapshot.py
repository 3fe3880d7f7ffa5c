"""Copies: what training changes later, they do not show."""

from __future__ import annotations

import collections
from typing import Any

import pytest
import torch
from torch import nn

from finetune_trainer.saving.snapshot import copied, size, storages


def test_a_copy_stays_what_it_was() -> None:
    model = nn.Linear(8, 4)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(2):
        model(torch.ones(1, 8)).sum().backward()
        optimiser.step()
        model_state, states = copied(model.state_dict()), copied(optimiser.state_dict())
        expected = model.weight.tolist(), optimiser.state[model.weight]["exp_avg"].tolist()
    model(torch.ones(1, 8)).sum().backward()
    optimiser.step()
    assert (model_state["weight"].tolist(), states["state"][0]["exp_avg"].tolist()) == expected
    assert model.weight.tolist() != expected[0]
    assert model_state._metadata == model.state_dict()._metadata  # type: ignore[attr-defined]
    nn.Linear(8, 4).load_state_dict(model_state)


def test_weights_that_are_one_stay_one_and_a_view_leaves_its_storage_behind() -> None:
    flat = torch.arange(1000.0)
    state = copied({"head": flat[:10], "embedding": flat[:10], "other": (flat[10:20], [flat[:5]])})
    assert state["head"] is state["embedding"]
    assert state["other"][0].untyped_storage().nbytes() == 40
    assert state["other"][1][0].tolist() == [0, 1, 2, 3, 4]
    assert size(state) == 4 * (10 + 10 + 10 + 5)


def test_what_nobody_changes_is_not_copied() -> None:
    frozen, trained = nn.Parameter(torch.ones(4), requires_grad=False), nn.Parameter(torch.ones(4))
    still = storages(iter([frozen]))
    state = copied({"frozen": frozen, "trained": trained}, still=still)
    assert size({"frozen": frozen, "trained": trained}, still=still) == 16
    assert state["frozen"].data_ptr() == frozen.data_ptr()
    assert state["trained"].data_ptr() != trained.data_ptr()
    assert not state["trained"].requires_grad


Point = collections.namedtuple("Point", ["place"])


@pytest.mark.parametrize("value", [Point(torch.ones(2)), (1, "a", None), {"a": {3}}, torch.empty(2, device="meta")])
def test_other_values_keep_their_kind(value: Any) -> None:
    assert type(copied(value)) is type(value)
