"""print_param_status: every parameter's name, type, device, and whether it moves."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn


def parameters(model: nn.Module) -> Iterator[str]:
    """A line for each parameter, with LLaMA-Factory's words."""
    for name, weight in model.named_parameters():
        yield f"name: {name}, dtype: {weight.dtype}, device: {weight.device}, trainable: {weight.requires_grad}"
