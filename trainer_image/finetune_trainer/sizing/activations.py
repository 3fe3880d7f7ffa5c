"""Pure: what one layer keeps for its backward pass, in bytes for each token, tensor by tensor.

Written down from what transformers 5.23's decoder layers hand to autograd (`saved_tensors_hooks`), and held against it
by a test for each family and way. With w the model's width, i the MLP's, q, k, v, a the widths of
all heads' queries, keys, values and answers, c bytes of a result, r bytes of the residual stream:

    norm          4 w of its input in float32, 4 of the root; and where its weight learns the result before it, r w
    q, k, v       their input: c w together; under autocast a cast of 2 w for each; and c q + c k + c v
    heads' norms  as norm, over q and k
    attention     c a of answers, 4 for each head; with a mask (pads, packed rows that are kept apart) the mask itself,
                  c length, and keys and values repeated for all heads
    plain kernel  for each pair of head and place the softmax in float32, and in c where that is another
    output        nothing: its input is the answers
    gate, up      their input as for q, k, v; c i each; c i of the activation function
    down          its input, c i
    experts       their input, gate and up, activation, product and result, each times the experts of a token
    LoRA          the input of each adapted layer in the adapter's type, and the rank's worth between its matrices;
                  what stands still keeps no input; dropout keeps a mask

Nothing here is fitted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from finetune_trainer.sizing.architecture import Architecture, Experts
from finetune_trainer.sizing.numbers import FULL, Numbers
from finetune_trainer.sizing.trained import Trained

_ROUTING = 36
"""Bytes that sorting keeps for a token and expert: places and weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """How a layer is computed."""

    numbers: Numbers
    trained: Trained
    length: int
    """Tokens of a row."""
    masked: bool
    """Rows hold pads, or rows that must not see each other: attention takes a mask."""
    eager: bool
    """The plain kernel, which keeps all scores."""
    dropout: bool
    """Of LoRA."""
    fused: bool
    """Liger's kernels for norms and MLP."""
    gpu: bool = True


def of_layer(model: Architecture, number: int, way: Way) -> float:
    """Bytes for each token that layer `number` keeps when all its activations are kept."""
    kept = [
        _norms(model, way),
        *_attention(model, way),
        *_mlp(model, number, way),
    ]
    return sum(kept)


def of_end(model: Architecture, way: Way) -> float:
    """Bytes for each token after the last layer: the last norm, and the output layer's input."""
    return _norm(model, model.width, way) + _inputs(way, model.width, ("lm_head",))


def between(model: Architecture, way: Way) -> float:
    """Bytes for each token of a layer's input: all that gradient checkpointing keeps."""
    return way.numbers.residual * model.width


def working(model: Architecture, way: Way) -> float:
    """Bytes for each token that the backward pass through a layer has beside what was kept.

    Either gradients of the MLP's results, or those of a norm, which computes in float32.
    """
    numbers = way.numbers
    inner = model.inner if model.experts is None else model.experts.chosen * model.experts.inner
    return max(2 * numbers.compute * inner, 4 * FULL * model.width) + numbers.residual * model.width


def passing(model: Architecture, way: Way) -> float:
    """Bytes for each token that a forward pass has at once when nothing is kept: the MLP and two hidden states."""
    inner = model.inner if model.experts is None else model.experts.chosen * model.experts.inner
    return 3 * way.numbers.compute * inner + 2 * way.numbers.residual * model.width


def _norms(model: Architecture, way: Way) -> float:
    """All of a layer that are as wide as the model; side by side they keep one input together."""
    count = model.family.norms
    shared = (count - 1) * way.numbers.residual * model.width if model.family.parallel else 0.0
    return count * _norm(model, model.width, way) - shared


def _norm(model: Architecture, width: int, way: Way, *, of_heads: int = 0) -> float:
    """A norm over `width` numbers; of so many heads, each by itself."""
    family, learns = model.family, bool(way.trained.base)
    stream = way.numbers.compute if of_heads else way.numbers.residual
    if family.norm_bias and not of_heads:
        return stream * width + 2 * FULL
    if way.fused and not of_heads:
        return stream * width + FULL
    before = FULL if family.norm_in_float else stream
    kept = FULL * width * (2 if family.norm_centred else 1) + FULL * max(1, of_heads)
    return kept + (before * width if learns else 0.0)


def _inputs(way: Way, width: int, names: tuple[str, ...], *, ready: bool = False) -> float:
    """The input that linear layers of these names share; `ready`: it is kept for another reason already."""
    numbers, targets = way.numbers, sum(name in way.trained.targets for name in names)
    if way.trained.base:
        return 0.0 if ready else numbers.compute * width * (len(names) if numbers.autocast else 1)
    if not targets:
        return 0.0
    inside = targets * way.trained.rank * numbers.compute
    if numbers.autocast or way.dropout or numbers.trained != numbers.compute:
        own = numbers.compute if numbers.autocast else numbers.trained
        mask = (1.0 if way.gpu else numbers.trained) if way.dropout else 0.0
        return targets * width * (own + mask) + inside
    return inside + (0.0 if ready else numbers.compute * width)


def _attention(model: Architecture, way: Way) -> Iterator[float]:
    family, compute = model.family, way.numbers.compute
    if model.latent:
        yield from _latent(model, way)
    else:
        yield _inputs(way, model.width, family.attention)
    if model.norms_heads:
        each = model.family.heads_normed == "head"
        yield _norm(model, model.query_width, way, of_heads=model.heads if each else 1)
        yield _norm(model, model.key_width, way, of_heads=model.kv_heads if each else 1)
    repeated = way.masked or way.eager
    keys, values = (model.query_width, model.answer_width) if repeated else (model.key_width, model.value_width)
    if len(family.attention) == 1 and not (repeated and model.key_width < model.query_width):
        values += model.query_width + model.key_width  # values lie in one tensor with what became queries and keys
    yield compute * (model.query_width + keys + values + model.answer_width)
    yield from _scores(model, way)
    yield _inputs(way, model.answer_width, (family.output,), ready=True)


def _latent(model: Architecture, way: Way) -> Iterator[float]:
    latent = model.latent
    assert latent is not None
    first = "q_a_proj" if latent.query_rank else "q_proj"
    yield _inputs(way, model.width, (first, "kv_a_proj_with_mqa"))
    for width, name in ((latent.query_rank, "q_b_proj"), (latent.value_rank, "kv_b_proj")):
        if width:
            yield _norm(model, width, way) + _inputs(way, width, (name,))


def _scores(model: Architecture, way: Way) -> Iterator[float]:
    """Of the fused kernel one number for each head and the mask; of the plain one every score."""
    compute = way.numbers.compute
    if not way.eager:
        yield FULL * model.heads + (compute * way.length if way.masked else 0.0)
        return
    softmax = way.numbers.residual if model.family.sinks else FULL
    capped = compute if model.family.capped else 0.0
    yield model.heads * way.length * (softmax + (compute if compute != softmax else 0.0) + capped)


def _mlp(model: Architecture, number: int, way: Way) -> Iterator[float]:
    experts = model.experts
    if experts is None or number in experts.dense:
        yield from _dense(model, model.inner, way)
        return
    yield from _through_experts(model, experts, way)
    if experts.shared_inner:
        yield from _dense(model, experts.shared_inner, way)


def _dense(model: Architecture, inner: int, way: Way) -> Iterator[float]:
    family, compute = model.family, way.numbers.compute
    yield _inputs(way, model.width, family.mlp)
    # gate and up for their product, and the activated gate; without a gate what is activated
    results = (2 if way.fused else 3) if family.gated else 1
    yield compute * inner * (results + family.activation_keeps)
    yield _inputs(way, inner, (family.down,))


def _through_experts(model: Architecture, experts: Experts, way: Way) -> Iterator[float]:
    """All experts of a token in one tensor; what stands still keeps no input."""
    numbers, learns = way.numbers, bool(way.trained.base)
    yield (numbers.compute * model.width if learns else 0.0) + FULL * experts.count
    inputs = model.width + experts.inner if learns else 0
    # grouped products are not autocast's: they are in the type of the residual stream
    results = (3 + model.family.activation_keeps) * experts.inner + model.width
    yield experts.chosen * (numbers.residual * (inputs + results) + _ROUTING)
