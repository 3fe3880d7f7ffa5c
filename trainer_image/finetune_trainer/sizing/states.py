"""Pure: what a rank holds of weights, gradients and optimiser, between steps and while it steps.

Sources: ZeRO (https://arxiv.org/abs/1910.02054, 5), DeepSpeed 0.19's stage_1_and_2.py, stage3.py and
unfused_optimizer.py, torch's DistributedDataParallel and FSDP2.
"""

from __future__ import annotations

from dataclasses import dataclass

from finetune_trainer.config import TrainConfig
from finetune_trainer.config.optim_values import is_layerwise, method
from finetune_trainer.sizing import optimisers, parameters
from finetune_trainer.sizing.architecture import Architecture
from finetune_trainer.sizing.layout import Layout
from finetune_trainer.sizing.numbers import FULL, HALF, Numbers
from finetune_trainer.sizing.trained import Trained


@dataclass(frozen=True, kw_only=True, slots=True)
class States:
    """Bytes on one GPU."""

    weights: float
    casts: float
    """Half precision copies of full precision weights, while a micro batch is computed under autocast."""
    gradients: float
    """When all are there."""
    always: bool
    """Gradients have their place from the beginning (ZeRO-3), not only from the backward pass to the step."""
    head: float
    """The output layer's gradient, the first that is there."""
    optimiser: float
    """Means, and float32 copies of half precision weights."""
    master: float
    """Those copies alone, which are there before the first step."""
    step: float
    """Beside all that, while the optimiser steps."""
    host: float
    """In the host's memory, for this rank."""


def of(cfg: TrainConfig, model: Architecture, trained: Trained, numbers: Numbers, layout: Layout) -> States:
    """What is held under DDP, ZeRO or FSDP."""
    if layout.kind == "zero":
        return _zero(cfg, model, trained, numbers, layout)
    return _torch(cfg, model, trained, numbers, layout)


def weights(model: Architecture, trained: Trained, numbers: Numbers) -> float:
    """Bytes of all weights of the model and its adapters, unshared."""
    packed = sum(
        weight.inputs * weight.outputs * weight.copies
        for number in range(model.layers)
        for weight in parameters.layer(model, number)
        if weight.linear
    )
    packed = 0 if trained.base else packed
    plain = parameters.total(model) - packed - trained.base
    moved = (trained.base + trained.adapters) * numbers.trained
    return packed * numbers.packed + plain * numbers.frozen + moved


def _torch(cfg: TrainConfig, model: Architecture, trained: Trained, numbers: Numbers, layout: Layout) -> States:
    """One process, DDP, FSDP2: the optimiser works on the weights themselves."""
    shared = layout.weights_shared
    learning = optimisers.block(cfg, model, trained) if method(cfg) == "badam" else trained.total
    gradients = (trained.largest if is_layerwise(cfg) else learning) * numbers.trained / layout.gradients_shared
    master = learning * FULL if method(cfg) == "badam" and numbers.trained == HALF else 0.0
    optimiser = optimisers.states(cfg, model, trained, number=numbers.trained) / layout.optimiser_shared + master
    held = weights(model, trained, numbers) / shared
    temporary = trained.total * numbers.trained / shared if optimisers.copies(cfg) else 0.0
    on_host = layout.offload_optimiser
    return States(
        weights=0.0 if on_host else held,
        casts=trained.cast * HALF if layout.kind != "fsdp" and numbers.autocast and numbers.trained == FULL else 0.0,
        gradients=0.0 if on_host else gradients,
        always=False,
        head=_head(model, trained) * numbers.trained / layout.gradients_shared,
        optimiser=0.0 if on_host else optimiser,
        master=0.0,
        step=0.0 if on_host else temporary,
        host=held + gradients + optimiser if on_host else 0.0,
    )


def _zero(cfg: TrainConfig, model: Architecture, trained: Trained, numbers: Numbers, layout: Layout) -> States:
    """DeepSpeed: one type for the model, float32 copies of what learns, and means beside those."""
    mine = trained.total / layout.optimiser_shared
    copied = layout.stage > 0 or numbers.trained == HALF
    master = mine * FULL if copied else 0.0
    optimiser = optimisers.states(cfg, model, trained) / layout.optimiser_shared + master
    gradients = trained.total * numbers.trained / layout.gradients_shared
    held = weights(model, trained, numbers) / layout.weights_shared
    on_host = layout.offload_optimiser
    return States(
        weights=0.0 if layout.offload_weights else held,
        casts=0.0,
        gradients=0.0 if on_host else gradients,
        always=layout.stage == 3,
        head=_head(model, trained) * numbers.trained,
        optimiser=0.0 if on_host else optimiser,
        master=0.0 if on_host else master,
        step=0.0 if on_host else _step(mine, numbers, layout, foreach=optimisers.copies(cfg)),
        host=(held if layout.offload_weights else 0.0) + (optimiser + mine * FULL if on_host else 0.0),
    )


def _step(mine: float, numbers: Numbers, layout: Layout, *, foreach: bool) -> float:
    """A flat copy of this rank's gradients, and one in float32; ZeRO-3 takes so many weights at a time."""
    if layout.stage == 0:
        return mine * FULL if numbers.trained == HALF else 0.0
    at_once = min(mine, layout.subgroup) if layout.stage == 3 else mine
    flat = at_once * (numbers.trained + FULL) if numbers.trained == HALF else at_once * FULL
    return max(flat, at_once * (FULL + (FULL if foreach else 0.0)))


def _head(model: Architecture, trained: Trained) -> int:
    return model.vocabulary * model.width if trained.head else 0
