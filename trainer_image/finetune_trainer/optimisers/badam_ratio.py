"""BAdam by ratio: a share of each weight's entries learns at a time, adjacent ones or drawn ones.

Source: package badam 1.4, BlockOptimizerRatio, and LLaMA-Factory's keys. Written here because the package fails with
tied weights, seeds the whole process anew at each backward pass, and can't resume. As there: embeddings and output
layer never learn, weights of less than 100 entries learn whole, gradients outside the share count for nothing (not for
the norm either), no weight decay. The share moves on after badam_switch_interval steps (LLaMA-Factory: always 100).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from transformers import TrainingArguments

from finetune_trainer.config import TrainConfig
from finetune_trainer.optimisers.groups import OUTPUT_LAYERS, trained

MaskMode = Literal["adjacent", "scatter"]
SMALL = 100
"""Entries below which a weight learns whole."""


def build(cfg: TrainConfig, args: TrainingArguments, model: nn.Module) -> torch.optim.Optimizer:
    """Adam on a share of every weight but embeddings and output layer, which no longer want gradients."""
    learns: list[nn.Parameter] = []
    for name, parameter in trained(model):
        outside = "embed" in name or not OUTPUT_LAYERS.isdisjoint(name.split("."))
        parameter.requires_grad_(not outside)
        if not outside:
            learns.append(parameter)
    keys = cfg.finetuning
    share = Share(
        ratio=keys.badam_update_ratio, mode=keys.badam_mask_mode, interval=keys.badam_switch_interval, seed=args.seed
    )
    betas = (args.adam_beta1, args.adam_beta2)
    return ShareOfEntries(learns, share, lr=args.learning_rate, betas=betas, eps=args.adam_epsilon)


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """Which entries of a weight learn, after how many steps."""

    ratio: float
    mode: MaskMode
    interval: int
    """In steps; below 1: the first entries learn for ever."""
    seed: int = 0

    def entries(self, size: int, taken: int) -> torch.Tensor:
        """Places in a flat weight: int64 [entries]; each turn goes on where the last one ended."""
        turn = taken // self.interval if self.interval > 0 else 0
        count = size if size < SMALL else max(1, int(size * self.ratio))
        places = (torch.arange(count) + count * turn) % size
        if self.mode == "adjacent":
            return places
        return torch.randperm(size, generator=torch.Generator().manual_seed(self.seed))[places]


class ShareOfEntries(torch.optim.Optimizer):
    """Adam whose state holds the learning entries alone."""

    def __init__(
        self, parameters: list[nn.Parameter], share: Share, *, lr: float, betas: tuple[float, float], eps: float
    ) -> None:
        super().__init__([{"params": parameters, "taken": 0}], {"lr": lr, "betas": betas, "eps": eps})
        self._share = share
        self._entries: dict[nn.Parameter, torch.Tensor] = {}
        for parameter in parameters:
            parameter.register_post_accumulate_grad_hook(self._mask)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Adam's step for the entries of this turn."""
        loss = None if closure is None else closure()
        (group,) = self.param_groups
        for parameter in group["params"]:
            if parameter.grad is not None:
                entries = self._entries_of(parameter)
                self._adam(group, parameter, parameter.grad.flatten()[entries], entries)
        group["taken"] += 1
        if self._share.interval > 0 and group["taken"] % self._share.interval == 0:
            self.state.clear()
            self._entries.clear()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the turn that was."""
        super().load_state_dict(state_dict)
        self._entries.clear()

    def _adam(
        self, group: dict[str, Any], parameter: nn.Parameter, gradient: torch.Tensor, entries: torch.Tensor
    ) -> None:
        state = self.state[parameter]
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(gradient), exp_avg_sq=torch.zeros_like(gradient))
        state["step"] += 1
        first, second = group["betas"]
        state["exp_avg"].lerp_(gradient, 1 - first)
        state["exp_avg_sq"].lerp_(gradient.square(), 1 - second)
        size = group["lr"] * float((1 - second ** state["step"]) ** 0.5 / (1 - first ** state["step"]))
        update = state["exp_avg"] / (state["exp_avg_sq"].sqrt() + group["eps"])
        parameter.view(-1).index_add_(0, entries, update, alpha=-size)

    def _mask(self, parameter: torch.Tensor) -> None:
        assert isinstance(parameter, nn.Parameter)
        assert parameter.grad is not None
        entries = self._entries_of(parameter)
        kept = parameter.grad.flatten()[entries]
        parameter.grad.zero_()
        parameter.grad.view(-1)[entries] = kept

    def _entries_of(self, parameter: nn.Parameter) -> torch.Tensor:
        if parameter not in self._entries:
            entries = self._share.entries(parameter.numel(), self.param_groups[0]["taken"])
            self._entries[parameter] = entries.to(parameter.device)
        return self._entries[parameter]
