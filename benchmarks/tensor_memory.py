"""Bytes of all live tensors of a process, exactly: every storage that an operator makes, until it is let go.

A dispatch mode sees each operator's results, DeepSpeed's and the backward pass's too. RSS would count the interpreter,
libraries and what malloc keeps for later; the profiler loses what another thread frees, as gloo's do.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):
    """While it is entered: `now` and the largest that it has been since `forget`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._sizes: dict[int, int] = {}

    def forget(self) -> None:
        """The peak begins anew."""
        self.peak = self.now

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor) and leaf.device.type != "meta":
                self._see(leaf.untyped_storage())
        return made

    def _see(self, storage: torch.UntypedStorage) -> None:
        at, size = storage._cdata, storage.nbytes()
        known = self._sizes.get(at)
        if known is None:
            weakref.finalize(storage, self._gone, at)
        self._sizes[at] = size
        self.now += size - (known or 0)
        self.peak = max(self.peak, self.now)

    def _gone(self, at: int) -> None:
        self.now -= self._sizes.pop(at, 0)
