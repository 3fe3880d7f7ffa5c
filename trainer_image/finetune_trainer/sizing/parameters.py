"""Pure: dimensions -> every weight of the model, by name and group."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from finetune_trainer.sizing.architecture import Architecture, Experts, Latent

Group = Literal["embeddings", "head", "attention", "mlp", "experts", "norms"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """One module's weight; an embedding has a row for each token, a norm one row."""

    name: str
    """The last part of the module's name, by which lora_target and freeze_trainable_modules know it."""
    group: Group
    inputs: int
    outputs: int
    bias: bool = False
    copies: int = 1
    """Experts that lie in one tensor."""
    linear: bool = True
    """Whether it is a linear layer, which `lora_target: all` means."""
    part: str = ""
    """The part of a layer that it lies in: self_attn, mlp, or the norm's own name."""

    @property
    def count(self) -> int:
        """Numbers in it."""
        return self.copies * (self.inputs * self.outputs + (self.outputs if self.bias else 0))

    @property
    def cast(self) -> int:
        """Numbers that autocast makes a half precision copy of: those of products, but not of grouped experts."""
        return 0 if self.group in ("norms", "embeddings", "experts") else self.count


@functools.lru_cache(maxsize=512)  # asked for every way of a table
def layer(model: Architecture, number: int) -> tuple[Weight, ...]:
    """The weights of one layer."""
    return (*_attention(model), *_mlp(model, number), *_norms(model))


def outside(model: Architecture) -> tuple[Weight, ...]:
    """Embeddings, positions, last norm, and the output layer unless it is the embedding."""
    family = model.family
    found = [
        Weight(name="embed_tokens", group="embeddings", inputs=model.vocabulary, outputs=model.width, linear=False)
    ]
    if model.positions:
        found.append(Weight(name="wpe", group="embeddings", inputs=model.positions, outputs=model.width, linear=False))
    found.append(_norm(model, "norm", model.width))
    if not model.tied:
        found.append(
            Weight(name="lm_head", group="head", inputs=model.width, outputs=model.vocabulary, bias=family.head_bias)
        )
    elif family.head_bias:
        found.append(Weight(name="lm_head", group="head", inputs=1, outputs=model.vocabulary, linear=False))
    return tuple(found)


@functools.lru_cache(maxsize=8)
def weights(model: Architecture) -> tuple[Weight, ...]:
    """All of them."""
    return (*outside(model), *(weight for number in range(model.layers) for weight in layer(model, number)))


def total(model: Architecture) -> int:
    """How many numbers the model has."""
    return sum(by_group(model).values())


@functools.lru_cache(maxsize=8)
def by_group(model: Architecture) -> Mapping[Group, int]:
    """Group -> numbers in it."""
    counted: Counter[Group] = Counter()
    for weight in weights(model):
        counted[weight.group] += weight.count
    return counted


def largest_layer(model: Architecture) -> int:
    """Numbers of the layer that has most."""
    dense = {number in model.experts.dense for number in range(model.layers)} if model.experts else {False}
    examples = [_example(model, is_dense=one) for one in dense]
    return max(sum(weight.count for weight in layer(model, number)) for number in examples)


def _example(model: Architecture, *, is_dense: bool) -> int:
    """The number of a layer with a plain MLP, or of one with experts."""
    if model.experts is None:
        return 0
    found = model.experts.dense
    return next(number for number in range(model.layers) if (number in found) is is_dense)


def _attention(model: Architecture) -> Iterator[Weight]:
    family, width = model.family, model.width
    if model.latent is not None:
        yield from _latent(model, model.latent)
    else:
        shares = _shares(family.attention, model)
        for name, outputs in shares.items():
            yield _linear(model, name, "attention", (width, outputs), bias=model.qkv_bias)
    yield _linear(model, family.output, "attention", (model.answer_width, width), bias=model.out_bias)
    if model.norms_heads:
        whole = family.heads_normed == "whole"
        yield _norm(model, "q_norm", model.query_width if whole else model.head_width, rms=True)
        yield _norm(model, "k_norm", model.key_width if whole else model.head_width, rms=True)
    if family.sinks:
        yield Weight(name="sinks", group="norms", inputs=1, outputs=model.heads, linear=False, part="self_attn")


def _shares(names: tuple[str, ...], model: Architecture) -> Mapping[str, int]:
    """Which matrix makes what: three, two (queries; keys and values), or one for all."""
    query, key = model.query_width, model.key_width
    widths = {3: (query, key, key), 2: (query, 2 * key), 1: (query + 2 * key,)}[len(names)]
    return dict(zip(names, widths, strict=True))


def _latent(model: Architecture, latent: Latent) -> Iterator[Weight]:
    width = model.width
    if latent.query_rank:
        yield _linear(model, "q_a_proj", "attention", (width, latent.query_rank))
        yield _norm(model, "q_a_layernorm", latent.query_rank)
        yield _linear(model, "q_b_proj", "attention", (latent.query_rank, model.query_width))
    else:
        yield _linear(model, "q_proj", "attention", (width, model.query_width))
    yield _linear(model, "kv_a_proj_with_mqa", "attention", (width, latent.value_rank + latent.rope))
    yield _norm(model, "kv_a_layernorm", latent.value_rank)
    yield _linear(model, "kv_b_proj", "attention", (latent.value_rank, model.heads * (latent.plain + latent.value)))


def _mlp(model: Architecture, number: int) -> Iterator[Weight]:
    if model.experts is None or number in model.experts.dense:
        yield from _dense(model, model.inner)
        return
    yield from _experts(model, model.experts)
    if model.experts.shared_inner:
        yield from _dense(model, model.experts.shared_inner)
    if model.family.shared_gate:
        yield _linear(model, "shared_expert_gate", "mlp", (model.width, 1))


def _dense(model: Architecture, inner: int) -> Iterator[Weight]:
    family = model.family
    together = 2 if family.gated and len(family.mlp) == 1 else 1
    for name in family.mlp:
        yield _linear(model, name, "mlp", (model.width, together * inner), bias=model.mlp_bias)
    yield _linear(model, family.down, "mlp", (inner, model.width), bias=model.mlp_bias)


def _experts(model: Architecture, experts: Experts) -> Iterator[Weight]:
    """transformers 5 keeps all experts of a layer in two tensors, which are no linear layers to peft."""
    for name, inputs, outputs in (
        ("experts", model.width, 2 * experts.inner),
        ("experts", experts.inner, model.width),
    ):
        yield Weight(
            name=name, group="experts", inputs=inputs, outputs=outputs, copies=experts.count, linear=False,
            bias=model.family.expert_bias, part="mlp",
        )  # fmt: skip
    yield Weight(
        name=model.family.router, group="mlp", inputs=model.width, outputs=experts.count, linear=False,
        bias=model.family.expert_bias, part="mlp",
    )  # fmt: skip


def _norms(model: Architecture) -> Iterator[Weight]:
    for number in range(model.family.norms):
        yield _norm(model, f"norm_{number}", model.width)


def _norm(model: Architecture, name: str, width: int, *, rms: bool = False) -> Weight:
    return Weight(
        name=name, group="norms", inputs=1, outputs=width, bias=model.family.norm_bias and not rms, linear=False,
        part="self_attn" if name.startswith(("q_", "k_", "kv_")) else name,
    )  # fmt: skip


def _linear(model: Architecture, name: str, group: Group, shape: tuple[int, int], *, bias: bool = False) -> Weight:
    inputs, outputs = shape
    part = "self_attn" if group == "attention" else "mlp"
    return Weight(
        name=name, group=group, inputs=inputs, outputs=outputs, bias=bias, linear=model.family.linear, part=part
    )
