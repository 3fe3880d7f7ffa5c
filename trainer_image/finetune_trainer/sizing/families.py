"""How families of models are built, where their config.json does not say it. Data; source: transformers 5.23's models.

Families that transformers has not (internlm2, chatglm, baichuan, telechat) are as their own published code has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Said = bool | str
"""A fact, or the key of config.json that holds it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """What one `model_type` has in its layers."""

    norms: int = 2
    """Norms of a layer that are as wide as the model."""
    norm_bias: bool = False
    """LayerNorm; else RMSNorm."""
    norm_in_float: bool = False
    """Its weight multiplies in float32, so that what it multiplies is kept so."""
    norm_centred: bool = False
    """Written in Python as differences from the mean, which are kept twice (cohere)."""
    parallel: bool = False
    """Attention and MLP start from one hidden state, which their norms keep once."""
    heads_normed: Literal["", "head", "whole"] = ""
    """Norms over queries and keys: of each head by one weight, or of all heads together."""
    norms_heads: Said = True
    """Whether it has them."""
    attention: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    """Names of the matrices that make queries, keys and values; one name: they are one matrix."""
    output: str = "o_proj"
    mlp: tuple[str, ...] = ("gate_proj", "up_proj")
    """Names of the matrices into the MLP; one name with `gated`: they are one matrix."""
    down: str = "down_proj"
    gated: bool = True
    activation_keeps: int = 0
    """Tensors that the activation function keeps beside its input: more where it is written in Python."""
    qkv_bias: Said = False
    out_bias: Said = False
    mlp_bias: Said = False
    head_bias: bool = False
    positions: str = ""
    """Key with the number of learned positions."""
    tied: bool = False
    """Whether the output layer is the embedding, where config.json says nothing."""
    linear: bool = True
    """GPT-2's Conv1D is no linear layer to lora_target: all."""
    experts: bool = False
    """A mixture: routers and experts, in all layers but those that config.json names."""
    expert_inner: str = "moe_intermediate_size"
    """Key with the width of an expert."""
    shared_gate: bool = False
    """A gate of one number over the shared expert (qwen2_moe)."""
    router: str = "gate"
    expert_bias: bool = False
    sinks: bool = False
    """A learned sink for each head (gpt_oss)."""
    latent: bool = False
    """Queries, keys and values by way of narrow matrices (MLA, deepseek)."""
    capped: bool = False
    """Attention's scores go through tanh (gemma2)."""
    eager: bool = False
    """Attention that keeps its scores, heads x length x length, since no fused kernel can compute it."""


PLAIN = Family()
_LLAMA = replace(PLAIN, qkv_bias="attention_bias", out_bias="attention_bias", mlp_bias="mlp_bias")
_QWEN3 = replace(PLAIN, qkv_bias="attention_bias", out_bias="attention_bias", heads_normed="head")
_GEMMA = replace(PLAIN, qkv_bias="attention_bias", out_bias="attention_bias", tied=True, norm_in_float=True)
_GLM = replace(PLAIN, qkv_bias="attention_bias", mlp=("gate_up_proj",))
_DEEPSEEK = replace(PLAIN, latent=True, experts=True)
_BIASED = replace(PLAIN, norm_bias=True, gated=False, qkv_bias=True, out_bias=True, mlp_bias=True)

FAMILIES: Mapping[str, Family] = {
    "llama": _LLAMA,
    "granite": _LLAMA,
    "smollm3": replace(_LLAMA, tied=True),
    "seed_oss": replace(_LLAMA, out_bias="attention_out_bias"),
    "mistral": PLAIN,
    "qwen2": replace(PLAIN, qkv_bias=True),
    "qwen3": _QWEN3,
    "exaone4": replace(PLAIN, heads_normed="head"),
    "ernie4_5": replace(PLAIN, qkv_bias="use_bias", out_bias="use_bias", mlp_bias="use_bias", tied=True),
    "gemma": _GEMMA,
    "gemma2": replace(_GEMMA, norms=4, capped=True, eager=True),
    "gemma3_text": replace(_GEMMA, norms=4, heads_normed="head"),
    "phi3": replace(PLAIN, attention=("qkv_proj",), mlp=("gate_up_proj",)),
    "olmo2": replace(
        PLAIN, qkv_bias="attention_bias", out_bias="attention_bias", heads_normed="whole",
        norm_in_float=True,
    ),
    "glm": _GLM,
    "glm4": replace(_GLM, norms=4),
    "cohere": replace(
        _LLAMA, norms=1, norm_in_float=True, norm_centred=True, parallel=True, tied=True, mlp_bias=False,
    ),
    "stablelm": replace(PLAIN, norm_bias=True, qkv_bias="use_qkv_bias"),
    "starcoder2": replace(
        PLAIN, norm_bias=True, gated=False, qkv_bias="use_bias", out_bias="use_bias", mlp_bias="use_bias",
        mlp=("c_fc",), down="c_proj", tied=True,
    ),
    "gpt2": replace(
        _BIASED, attention=("c_attn",), output="c_proj", mlp=("c_fc",), down="c_proj", positions="n_positions",
        tied=True, linear=False, activation_keeps=2,
    ),
    "gpt_neox": replace(
        _BIASED, attention=("query_key_value",), output="dense", mlp=("dense_h_to_4h",), down="dense_4h_to_h",
        parallel=True,
    ),
    "phi": replace(_BIASED, norms=1, output="dense", mlp=("fc1",), down="fc2", head_bias=True, activation_keeps=3),
    "mixtral": replace(PLAIN, experts=True, expert_inner="intermediate_size"),
    "qwen2_moe": replace(PLAIN, qkv_bias="qkv_bias", experts=True, shared_gate=True),
    "qwen3_moe": replace(_QWEN3, experts=True),
    "olmoe": replace(
        PLAIN, qkv_bias="attention_bias", out_bias="attention_bias", heads_normed="whole", experts=True,
        expert_inner="intermediate_size",
    ),
    "gpt_oss": replace(
        _LLAMA, mlp_bias=False, experts=True, expert_inner="intermediate_size", router="router", expert_bias=True,
        sinks=True, eager=True, activation_keeps=3,
    ),
    "glm4_moe": replace(
        PLAIN, qkv_bias="attention_bias", heads_normed="head", norms_heads="use_qk_norm", experts=True,
    ),
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK,
    "internlm2": replace(
        PLAIN, qkv_bias="bias", out_bias="bias", attention=("wqkv",), output="wo", mlp=("w1", "w3"), down="w2",
    ),
    "baichuan": replace(PLAIN, attention=("W_pack",)),
    "chatglm": replace(
        PLAIN, qkv_bias="add_qkv_bias", attention=("query_key_value",), output="dense", mlp=("dense_h_to_4h",),
        down="dense_4h_to_h",
    ),
    "telechat": replace(PLAIN, attention=("query", "key_value"), output="dense", out_bias=True),
}  # fmt: skip
"""model_type -> how it is built."""
