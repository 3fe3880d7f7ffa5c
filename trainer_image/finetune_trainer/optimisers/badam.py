"""BAdam: one block of layers learns at a time, with its optimiser's state in memory alone.

Source: https://arxiv.org/abs/2404.02827 and LLaMA-Factory's keys. Written here because package badam 1.4 takes the
base class's default for the user's weight decay, decays norms, switches at each step where the interval is -1, gives
the first block a step less, fails with `fixed` and with tied weights, and can't resume. As there, embeddings, output
layer and last norm never learn, weights below float32 get a float32 copy while their block learns, and the state is
dropped at a switch.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from transformers import TrainingArguments

from finetune_trainer.config import TrainConfig
from finetune_trainer.failures import RunError
from finetune_trainer.optimisers import badam_ratio
from finetune_trainer.optimisers.groups import Group, Make, by_decay, by_name, decayed, trained

SwitchMode = Literal["ascending", "descending", "random", "fixed"]
LAYER = re.compile(r"(?:.*\.)?(?:layers|layer|h|blocks)\.\d+\.")
NamedGroup = list[tuple[str, nn.Parameter]]


def build(cfg: TrainConfig, args: TrainingArguments, model: nn.Module) -> torch.optim.Optimizer:
    """BAdam by layers, or by a share of each weight.

    Raises:
        RunError: the model has no layers that we know by name, or not as many as badam_start_block wants.
    """
    keys = cfg.finetuning
    if keys.badam_mode == "ratio":
        return badam_ratio.build(cfg, args, model)
    found = blocks(trained(model))
    start = keys.badam_start_block
    if not found:
        raise RunError("use_badam: the model's trained weights lie in no numbered layers; take badam_mode: ratio")
    if start is not None and start >= len(found):
        raise RunError(f"badam_start_block: {start} is too much, the model has blocks 0 to {len(found) - 1}")
    course = Course(
        count=len(found),
        mode=keys.badam_switch_mode,
        interval=keys.badam_switch_interval,
        start=start,
        seed=args.seed,
    )
    make = by_name(args, weight_decay=args.weight_decay)
    return BlockByBlock(model, course, make, weight_decay=args.weight_decay, verbose=keys.badam_verbose)


def blocks(named: NamedGroup) -> dict[str, NamedGroup]:
    """Prefix of a layer's names -> its parameters, in the model's order."""
    found: dict[str, NamedGroup] = {}
    for name, parameter in named:
        layer = LAYER.match(name)
        if layer:
            found.setdefault(layer[0], []).append((name, parameter))
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """Which block learns, after how many steps."""

    count: int
    mode: SwitchMode
    interval: int
    """In steps; below 1: the first block learns for ever."""
    start: int | None = None
    """The first block; unless said the last one when descending, else block 0."""
    seed: int = 0

    def block(self, taken: int) -> int:
        """The block that makes the step after `taken` steps; random: each block once, in an order of its own."""
        turn = taken // self.interval if self.interval > 0 else 0
        if self.mode == "random":
            draw = torch.Generator().manual_seed(self.seed + turn // self.count)
            return int(torch.randperm(self.count, generator=draw)[turn % self.count])
        step = {"ascending": 1, "descending": -1, "fixed": 0}[self.mode]
        first = self.start if self.start is not None else self.count - 1 if self.mode == "descending" else 0
        return (first + step * turn) % self.count


class BlockByBlock(torch.optim.Optimizer):
    """An optimiser for the active block; what is not in it wants no gradient."""

    def __init__(self, model: nn.Module, course: Course, make: Make, *, weight_decay: float, verbose: int) -> None:
        self._all = trained(model)
        self._blocks, self._course, self._make = list(blocks(self._all).values()), course, make
        self._told = -1
        self._decays, self._decay, self._verbose = decayed(model), weight_decay, verbose
        groups = by_decay(model, weight_decay)
        rate = make(groups).param_groups[0]["lr"]
        super().__init__([{**group, "taken": 0} for group in groups], {"lr": rate})
        self._activate(course.block(0))

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Step the active block, and go on to the next one if it is time."""
        loss = None if closure is None else closure()
        self._follow(self.param_groups[0]["lr"])
        for weight, copy in zip(self._weights, self._copies, strict=True):
            copy.grad = None if weight.grad is None else weight.grad.to(copy.dtype)
        self._active.step()
        for weight, copy in zip(self._weights, self._copies, strict=True):
            if copy is not weight:
                weight.data.copy_(copy.data)
                copy.grad = None
        self._count()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Groups with the number of steps taken, the active block's state and its float32 copies."""
        return {**super().state_dict(), "active": self._active.state_dict(), "copies": [c.data for c in self._copies]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on with the block that was active."""
        super().load_state_dict(dict(state_dict))
        self._activate(self._course.block(self.param_groups[0]["taken"]))
        self._active.load_state_dict(state_dict["active"])
        for copy, saved in zip(self._copies, state_dict["copies"], strict=True):
            copy.data.copy_(saved)

    def _count(self) -> None:
        before = self._course.block(self.param_groups[0]["taken"])
        for group in self.param_groups:
            group["taken"] += 1
        after = self._course.block(self.param_groups[0]["taken"])
        if after != before:
            self._activate(after)

    def _follow(self, rate: float) -> None:
        for group in self._active.param_groups:
            group["lr"] = rate

    def _activate(self, number: int) -> None:
        names = {name for name, _ in self._blocks[number]}
        for name, parameter in self._all:
            parameter.requires_grad_(name in names)
            parameter.grad = None
        self._weights = [parameter for _, parameter in self._blocks[number]]
        self._copies = [_in_float32(parameter) for parameter in self._weights]
        self._active = self._make(self._groups(number))
        if number != self._told:  # accelerate loads the state that it has just read
            self._tell(number)
        self._told = number

    def _groups(self, number: int) -> list[Group]:
        decays = [name in self._decays for name, _ in self._blocks[number]]
        of = {
            wanted: [copy for copy, decay in zip(self._copies, decays, strict=True) if decay is wanted]
            for wanted in (False, True)
        }
        groups = [{"params": of[False], "weight_decay": 0.0}, {"params": of[True], "weight_decay": self._decay}]
        return [group for group in groups if group["params"]]

    def _tell(self, number: int) -> None:
        block = self._blocks[number]
        if self._verbose > 0:
            prefix = LAYER.match(block[0][0])
            sys.stdout.write(f"BAdam: block {number} learns: {prefix[0] if prefix else ''}\n")
        if self._verbose > 1:
            sys.stdout.writelines(f"BAdam:   {name}\n" for name, _ in block)


def _in_float32(weight: nn.Parameter) -> nn.Parameter:
    return weight if weight.dtype == torch.float32 else nn.Parameter(weight.detach().clone().float())
