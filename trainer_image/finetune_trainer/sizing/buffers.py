"""Pure: memory for what goes between ranks: buckets of gradients, gathered weights."""

from __future__ import annotations

from dataclasses import dataclass

from finetune_trainer.sizing import parameters
from finetune_trainer.sizing.architecture import Architecture
from finetune_trainer.sizing.layout import Layout
from finetune_trainer.sizing.numbers import Numbers
from finetune_trainer.sizing.trained import Trained


@dataclass(frozen=True, kw_only=True, slots=True)
class Buffers:
    """Bytes on one GPU."""

    always: float
    """From the beginning to the end: DDP's buckets, ZeRO-3's bucket."""
    gathered: float
    """Whole weights that are put together for a layer, while a micro batch is computed."""
    backward: float
    """From the backward pass's first gradient to its end: buckets, and a whole gradient before it is shared."""


def of(model: Architecture, trained: Trained, numbers: Numbers, layout: Layout, *, checkpointing: bool) -> Buffers:
    """By the kind of sharing; with gradient checkpointing a backward pass goes through all layers."""
    match layout.kind:
        case "alone":
            return Buffers(always=0.0, gathered=0.0, backward=0.0)
        case "ddp":
            # A bucket is a second place for each gradient (gradient_as_bucket_view is off).
            return Buffers(always=trained.total * numbers.trained, gathered=0.0, backward=0.0)
        case "fsdp":
            return _fsdp(model, trained, numbers)
        case "zero":
            again = _again(model, trained, checkpointing=checkpointing)
            return _zero(model, trained, numbers, layout, again=again)


def _fsdp(model: Architecture, trained: Trained, numbers: Numbers) -> Buffers:
    """A layer is computed while the next one is gathered; its whole gradient is there until it is shared."""
    layer = parameters.largest_layer(model)
    outside = sum(weight.count for weight in parameters.outside(model))
    whole = layer * numbers.trained if trained.base else 0.0
    return Buffers(always=0.0, gathered=(outside + 2 * layer) * numbers.compute, backward=whole)


def _zero(model: Architecture, trained: Trained, numbers: Numbers, layout: Layout, *, again: int) -> Buffers:
    bucket = layout.bucket * numbers.trained
    if layout.stage == 0:
        return Buffers(always=0.0, gathered=0.0, backward=min(bucket, trained.total * numbers.trained))
    if layout.stage < 3:
        return Buffers(always=0.0, gathered=0.0, backward=bucket * layout.buckets)
    return Buffers(
        always=bucket,
        gathered=_gathered(model, layout, again) * numbers.frozen,
        backward=2 * trained.largest * numbers.trained,
    )


def _gathered(model: Architecture, layout: Layout, again: int) -> float:
    """ZeRO-3 keeps up to stage3_max_live_parameters that it will need again, and fetches the next module beyond."""
    largest = max(parameters.largest_layer(model), *(weight.count for weight in parameters.outside(model)))
    return float(min(again, layout.live + largest))


def _again(model: Architecture, trained: Trained, *, checkpointing: bool) -> int:
    """Numbers that the backward pass needs after the forward pass; ZeRO-3 lets the others go after their layer.

    Below the lowest layer that learns it needs none, but with checkpointing the embeddings' result wants a gradient.
    """
    if checkpointing or trained.embeddings:
        return parameters.total(model) + trained.adapters
    layers = range(trained.lowest, model.layers)
    inside = sum(weight.count for number in layers for weight in parameters.layer(model, number))
    beside = (weight for weight in parameters.outside(model) if weight.group != "embeddings" or model.tied)
    return inside + sum(weight.count for weight in beside) + trained.adapters
