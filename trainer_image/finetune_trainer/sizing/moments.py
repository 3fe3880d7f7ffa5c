"""Pure: what is in memory at each moment of a step, first and later ones; the largest decides."""

from __future__ import annotations

from dataclasses import dataclass, replace

from finetune_trainer.sizing import activations
from finetune_trainer.sizing.activations import Way
from finetune_trainer.sizing.architecture import Architecture
from finetune_trainer.sizing.buffers import Buffers
from finetune_trainer.sizing.layout import Layout
from finetune_trainer.sizing.logits import Logits
from finetune_trainer.sizing.numbers import Numbers
from finetune_trainer.sizing.states import States
from finetune_trainer.sizing.trained import Trained


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """Bytes on one GPU at one moment."""

    weights: float
    """With the half precision copies that autocast makes."""
    gradients: float
    optimiser: float
    """With float32 copies of half precision weights."""
    activations: float
    logits: float
    buffers: float
    """For what goes between ranks, and temporary copies of the step."""
    overhead: float = 0.0
    """Fragmentation, the CUDA context, NCCL."""

    @property
    def total(self) -> float:
        """All of it."""
        held = self.weights + self.gradients + self.optimiser
        return held + self.activations + self.logits + self.buffers + self.overhead


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """Everything that a moment is put together from."""

    model: Architecture
    layout: Layout
    numbers: Numbers
    trained: Trained
    states: States
    buffers: Buffers
    logits: Logits
    way: Way
    tokens: int
    """Of a micro batch."""
    evaluated: int
    """Tokens of an evaluation's micro batch; 0 without evaluation."""
    eval_logits: float
    """Bytes of its scores."""
    accumulates: bool
    checkpointing: bool
    on_host: bool
    """What checkpointing keeps lies in the host's memory."""


def whole(model: Architecture, way: Way) -> float:
    """Bytes for each token of all layers that something learns in or below."""
    layers = range(way.trained.lowest, model.layers)
    return sum(activations.of_layer(model, number, way) for number in layers) + activations.of_end(model, way)


def of(step: Step) -> dict[str, Parts]:
    """Moment -> what there is, without overhead. States of the optimiser are there from the second step on."""
    held, wide, scores = step.states, step.buffers, step.logits
    kept, layer = _kept(step)
    early = held.optimiser if step.layout.stage == 0 and step.layout.kind == "zero" else held.master
    before = held.gradients if step.accumulates or held.always else 0.0
    first = held.gradients if held.always else 0.0
    whole = Parts(
        weights=held.weights,
        gradients=before,
        optimiser=held.optimiser,
        activations=kept,
        logits=0.0,
        buffers=wide.always + wide.gathered,
    )
    casts = held.weights + held.casts
    late = held.weights if step.checkpointing else casts
    beginning = replace(whole, gradients=first, optimiser=early)
    evaluation = replace(
        whole,
        weights=casts,
        gradients=first,
        activations=step.evaluated * activations.passing(step.model, step.way),
        logits=step.eval_logits,
    )
    return {
        "first forward pass": replace(beginning, weights=casts, logits=scores.inside),
        # ZeRO-3 gathers ahead and keeps only what it has seen being used again: not yet
        "first loss": replace(beginning, weights=late, logits=scores.first, buffers=wide.always),
        "forward pass": replace(whole, weights=casts, logits=scores.forward),
        "loss": replace(whole, weights=late, logits=scores.backward),
        "backward pass": _backward(step, whole, layer),
        "first layer's backward pass": _first_layer(step, whole, layer),
        "embeddings' backward pass": _embeddings(step, whole),
        "optimiser step": replace(whole, gradients=held.gradients, activations=0.0, buffers=wide.always + held.step),
        **({"evaluation": evaluation} if step.evaluated else {}),
    }


def _kept(step: Step) -> tuple[float, float]:
    """Bytes of all that is kept, and of one layer's whole set."""
    model, way, tokens = step.model, step.way, step.tokens
    layers = range(step.trained.lowest, model.layers)
    largest = max((activations.of_layer(model, number, way) for number in {*layers[:1], *layers[-1:]}), default=0.0)
    if not step.checkpointing:
        return tokens * whole(model, way), tokens * largest
    hidden = 0.0 if step.on_host else activations.between(model, way) * model.layers
    return tokens * (hidden + activations.of_end(model, way)), tokens * largest


def _backward(step: Step, whole: Parts, layer: float) -> Parts:
    """The last layer's backward pass: the output layer's gradient is there, all other activations still are."""
    held, lay = step.states, step.layout
    working = step.tokens * activations.working(step.model, step.way)
    again = layer if step.checkpointing else 0.0
    in_bucket = lay.kind == "zero" and lay.stage < 3 and held.head <= step.buffers.backward
    casts = held.casts / max(1, step.model.layers) if step.checkpointing else held.casts
    return replace(
        whole,
        weights=held.weights + casts,
        gradients=max(whole.gradients, 0.0 if in_bucket or held.always else held.head),
        activations=whole.activations + again + working,
        buffers=whole.buffers + step.buffers.backward,
    )


def _first_layer(step: Step, whole: Parts, layer: float) -> Parts:
    """All gradients are there but the embeddings', unless they are the output layer's too."""
    held = step.states
    late = 0.0 if step.model.tied or step.layout.kind == "zero" else _embedding(step)
    return replace(
        whole,
        weights=held.weights + held.casts / max(1, step.model.layers),
        gradients=max(whole.gradients, held.gradients - late),
        activations=layer + step.tokens * activations.working(step.model, step.way),
        buffers=whole.buffers + step.buffers.backward,
    )


def _embeddings(step: Step, whole: Parts) -> Parts:
    """The last gradient, made whole before it is added to the output layer's, or goes into a bucket."""
    in_place = step.layout.kind != "zero" and not step.model.tied and not step.accumulates
    return replace(
        whole,
        gradients=step.states.gradients + (0.0 if in_place else _embedding(step)),
        activations=0.0,
        buffers=whole.buffers + step.buffers.backward,
    )


def _embedding(step: Step) -> float:
    return step.model.vocabulary * step.model.width * step.numbers.trained if step.trained.embeddings else 0.0
