"""profile_modules: milliseconds forward and backward of the modules that the patterns name, at each logged step.

LLaMA-Factory measures with CUDA events and does nothing on a CPU; here a CPU's clock serves there.
"""

# ruff: noqa: ANN401, ARG002 - transformers calls every callback with the same arguments
from __future__ import annotations

import fnmatch
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune_trainer.failures import RunError

Mark = torch.cuda.Event | float
"""A moment: on the GPU's own clock where there is one, since its work is done later than it is asked for."""


class ModuleTimes(TrainerCallback):
    """Hooks on the modules; a line for each logged step in profiler/modules_rank_<n>.jsonl."""

    def __init__(self, patterns: Sequence[str], path: Path) -> None:
        self._patterns = patterns
        self._path = path
        self._handles: list[Any] = []
        self._begun: dict[tuple[str, str], Mark] = {}
        self._spans: dict[tuple[str, str], list[tuple[Mark, Mark]]] = defaultdict(list)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hook the modules.

        Raises:
            RunError: no module has such a name.
        """
        model: nn.Module = kwargs["model"]
        found = {name: module for name, module in model.named_modules() if name and self._named(name)}
        if not found:
            some = ", ".join([name for name, _ in model.named_modules() if name][:4])
            raise RunError(f"profile_modules: no module is named {', '.join(self._patterns)}; there are {some}, ...")
        for name, module in found.items():
            self._hook(name, module)
        self._path.parent.mkdir(parents=True, exist_ok=True)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the means since the last logged step."""
        if not self._spans or "loss" not in (logs or {}):
            return
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times: dict[str, dict[str, float]] = defaultdict(dict)
        for (name, way), spans in self._spans.items():
            seconds = [_between(begin, end) for begin, end in spans]
            times[name][f"{way}_ms"] = round(1000 * sum(seconds) / len(seconds), 4)
        self._spans.clear()
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": state.global_step, "modules": times}) + "\n")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _named(self, name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in self._patterns)

    def _hook(self, name: str, module: nn.Module) -> None:
        self._handles += [
            module.register_forward_pre_hook(lambda *_: self._begin(name, "forward")),
            module.register_forward_hook(lambda *_: self._end(name, "forward")),
            module.register_full_backward_pre_hook(lambda *_: self._begin(name, "backward")),
            module.register_full_backward_hook(lambda *_: self._end(name, "backward")),
        ]

    def _begin(self, name: str, way: str) -> None:
        self._begun[name, way] = _mark()

    def _end(self, name: str, way: str) -> None:
        begun = self._begun.pop((name, way), None)
        if begun is not None:
            self._spans[name, way].append((begun, _mark()))


def _mark() -> Mark:
    if not torch.cuda.is_available():
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def _between(begin: Mark, end: Mark) -> float:
    """Seconds; the GPU's marks must have been reached."""
    if isinstance(begin, float) or isinstance(end, float):
        assert isinstance(begin, float)
        assert isinstance(end, float)
        return end - begin
    return float(begin.elapsed_time(end)) / 1000
