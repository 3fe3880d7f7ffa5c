"""Copies of nested states, in main memory, as they are at this moment."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

_PLAIN = (torch.Tensor, nn.Parameter)


def copied(value: Any, *, still: frozenset[int] = frozenset()) -> Any:  # noqa: ANN401 - whatever a state holds
    """A copy that training does not change.

    Args:
        value: tensors in dicts, lists and tuples; other objects are copied as Python copies them.
        still: addresses of storages that nobody changes (`storages`): their tensors are not copied.

    Returns:
        The same shape of dicts, lists and tuples. Tensors are on the CPU (those of `still` stay where they are), each
        without the rest of its storage; two that are the same one stay so.
    """
    return _Copying(still).of(value)


def storages(tensors: Iterator[torch.Tensor]) -> frozenset[int]:
    """Addresses of the memory that tensors lie in."""
    return frozenset(tensor.untyped_storage().data_ptr() for tensor in tensors if type(tensor) in _PLAIN)


def size(value: Any, *, still: frozenset[int] = frozenset()) -> int:  # noqa: ANN401 - whatever a state holds
    """Bytes that a copy takes, or a little more."""
    if isinstance(value, torch.Tensor):
        return 0 if _stays(value, still) else value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(size(one, still=still) for one in value.values())
    return sum(size(one, still=still) for one in value) if isinstance(value, list | tuple) else 0


def _stays(tensor: torch.Tensor, still: frozenset[int]) -> bool:
    if tensor.device.type == "meta":
        return True
    return type(tensor) in _PLAIN and tensor.untyped_storage().data_ptr() in still


class _Copying:
    def __init__(self, still: frozenset[int]) -> None:
        self._still = still
        self._seen: dict[tuple[Any, ...], torch.Tensor] = {}

    def of(self, value: Any) -> Any:  # noqa: ANN401 - whatever a state holds
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, dict):
            kept = copy.copy(value)  # its class, and what hangs on it: _metadata of a module's state
            for key in value:
                kept[key] = self.of(value[key])
            return kept
        if isinstance(value, list):
            return [self.of(one) for one in value]
        if isinstance(value, tuple):
            parts = [self.of(one) for one in value]
            return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
        return copy.deepcopy(value)

    def _tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        flat = tensor.detach()
        if _stays(tensor, self._still):
            return flat
        if type(tensor) not in _PLAIN:
            return copy.deepcopy(flat)  # a quantised optimiser's: several tensors in one
        key = (flat.device, flat.data_ptr(), flat.dtype, flat.shape, flat.stride())
        if not flat.numel() or key not in self._seen:
            self._seen[key] = flat.to("cpu", copy=True)
        return self._seen[key]
