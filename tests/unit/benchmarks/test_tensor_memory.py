"""The benchmark's count of live tensor bytes."""

from __future__ import annotations

import torch
from benchmarks.tensor_memory import LiveTensors


def test_the_peak_is_of_what_lives_at_once() -> None:
    with LiveTensors() as live:
        kept = torch.ones(1000)
        for _ in range(3):
            kept = kept * 2  # the new one, while the old one still lives
    assert (live.now, live.peak) == (4000, 8000)
    assert float(kept[0]) == 8.0


def test_views_take_nothing_and_what_autograd_keeps_counts() -> None:
    weight = torch.ones(10, requires_grad=True)
    with LiveTensors() as live:
        result = (weight.exp()[:5] * 1).sum()
        assert live.now == 40 + 20 + 4 - 20  # exp is kept, the product is not
        result.backward()
        del result
        assert live.now == 40  # the gradient
