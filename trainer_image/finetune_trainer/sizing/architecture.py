"""A model's dimensions: all that decides how many weights there are and what a layer keeps for the backward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from finetune_trainer.sizing.families import Family

Stored = Literal["float32", "bfloat16", "float16"]


class ArchitectureUnknown(ValueError):
    """A config.json of which the size cannot be told; says what is missing and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Experts:
    """A mixture of experts in place of a layer's MLP."""

    count: int
    chosen: int
    """Experts that a token goes through."""
    inner: int
    shared_inner: int = 0
    """Width of what every token goes through beside them."""
    dense: frozenset[int] = frozenset()
    """Layers that have a plain MLP all the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Latent:
    """Widths of multi-head latent attention (DeepSeek-V2, https://arxiv.org/abs/2405.04434, 2.1)."""

    query_rank: int
    """0: queries come straight from the hidden state."""
    value_rank: int
    rope: int
    plain: int
    value: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """All that decides how many weights there are and what a layer keeps for the backward pass."""

    kind: str
    """model_type."""
    family: Family
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    inner: int
    vocabulary: int
    tied: bool
    stored: Stored | None = None
    quantised: str | None = None
    """`quant_method` of weights that are stored quantised."""
    quantised_bits: int = 16
    positions: int = 0
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    norms_heads: bool = False
    experts: Experts | None = None
    latent: Latent | None = None
    assumed: bool = False
    """Of a family that is not known here, taken to be built like llama."""

    @property
    def query_width(self) -> int:
        """Width of all heads' queries."""
        return self.heads * ((self.latent.rope + self.latent.plain) if self.latent else self.head_width)

    @property
    def key_width(self) -> int:
        """Width of all heads' keys."""
        return self.query_width if self.latent else self.kv_heads * self.head_width

    @property
    def value_width(self) -> int:
        """Width of all heads' values."""
        return self.heads * self.latent.value if self.latent else self.key_width

    @property
    def answer_width(self) -> int:
        """Width of what attention gives to its output matrix."""
        return self.heads * self.latent.value if self.latent else self.query_width
