"""Pure: a model's config.json -> its dimensions, or a refusal that names what is not understood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetune_trainer.sizing.architecture import Architecture, ArchitectureUnknown, Experts, Latent, Stored
from finetune_trainer.sizing.families import FAMILIES, PLAIN, Family, Said

_NAMES: Mapping[str, tuple[str, ...]] = {
    "width": ("hidden_size", "n_embd", "d_model", "n_embed"),
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "heads": ("num_attention_heads", "n_head"),
    "vocabulary": ("padded_vocab_size", "vocab_size"),
    "inner": ("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim"),
    "kv_heads": ("num_key_value_heads", "multi_query_group_num", "num_kv_heads"),
    "head_width": ("head_dim", "kv_channels"),
    "experts": ("num_experts", "num_local_experts", "n_routed_experts"),
    "chosen": ("num_experts_per_tok", "num_experts_per_token", "moe_topk"),
}
"""Our name -> what models call it, the first that is there counts."""
_NOT_TEXT = ("vision_config", "audio_config")
_UNKNOWN_PARTS = ("ssm_cfg", "mamba_d_state", "mamba_n_heads", "linear_num_value_heads", "attn_layer_period")
"""Keys of layers that are no attention (Mamba, gated linear attention): their weights are not counted here."""

_LIKE_LLAMA = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "rms_norm_eps",
)  # fmt: skip
"""What the config.json of a family that is not known here must have, so that llama's layers may be assumed."""


def read(config: Mapping[str, Any]) -> Architecture:
    """Dimensions of the language model that a config.json describes.

    Raises:
        ArchitectureUnknown: a dimension is missing, or there are layers whose weights are not counted here.
    """
    text = _text(config)
    kind = str(text.get("model_type") or config.get("model_type") or "")
    _check_layers(kind, text)
    family = FAMILIES.get(kind, PLAIN)
    width, heads = _need(text, "width", kind), _need(text, "heads", kind)
    said = _quantisation(config)
    return Architecture(
        kind=kind,
        family=family,
        width=width,
        layers=_need(text, "layers", kind),
        heads=heads,
        kv_heads=_kv_heads(text, heads),
        head_width=_find(text, "head_width") or width // heads,
        inner=_find(text, "inner") or (4 * width if kind == "gpt2" else _need(text, "inner", kind)),
        vocabulary=_need(text, "vocabulary", kind),
        tied=bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", family.tied))),
        stored=_stored(config, text),
        quantised=None if said is None else said[0],
        quantised_bits=16 if said is None else said[1],
        positions=int(text[family.positions]) if family.positions else 0,
        qkv_bias=_is(family.qkv_bias, text),
        out_bias=_is(family.out_bias, text),
        mlp_bias=_is(family.mlp_bias, text),
        norms_heads=bool(family.heads_normed) and _is(family.norms_heads, text),
        experts=_experts(text, family, kind),
        latent=_latent(text) if family.latent else None,
        assumed=kind not in FAMILIES,
    )


def _text(config: Mapping[str, Any]) -> Mapping[str, Any]:
    inside = config.get("text_config") or config.get("llm_config")
    if isinstance(inside, Mapping):
        return inside
    other = next((key for key in _NOT_TEXT if key in config), None)
    if other is not None:
        raise ArchitectureUnknown(f"config.json has a {other} and no text_config: only text models are sized")
    return config


def _check_layers(kind: str, text: Mapping[str, Any]) -> None:
    strange = [key for key in _UNKNOWN_PARTS if text.get(key) is not None]
    if strange:
        raise ArchitectureUnknown(
            f"config.json: a model of type {kind} has layers that are no attention ({', '.join(strange)}), whose "
            "weights and activations are not known here"
        )
    if kind in FAMILIES:
        return
    lacks = [key for key in _LIKE_LLAMA if not text.get(key)]
    if lacks or _find(text, "experts"):
        why = "it has experts" if not lacks else f"it has no {', '.join(lacks)}"
        raise ArchitectureUnknown(
            f"config.json: a model of type {kind or 'unknown'} is not known here, and {why}, so that it is not built "
            f"like llama; known are {', '.join(sorted(FAMILIES))}"
        )


def _find(text: Mapping[str, Any], name: str) -> int | None:
    return next((int(text[key]) for key in _NAMES[name] if text.get(key)), None)


def _need(text: Mapping[str, Any], name: str, kind: str) -> int:
    found = _find(text, name)
    if found is None:
        raise ArchitectureUnknown(
            f"config.json: model_type {kind or 'is missing, and there'} has none of {', '.join(_NAMES[name])}: its "
            "size cannot be told"
        )
    return found


def _is(said: Said, text: Mapping[str, Any]) -> bool:
    return said if isinstance(said, bool) else bool(text.get(said, _UNSAID.get(said, False)))


_UNSAID = {"use_bias": True, "qkv_bias": True}
"""Biases that a model has where its config.json does not deny them; ernie4_5 and qwen2_moe always write it."""


def _kv_heads(text: Mapping[str, Any], heads: int) -> int:
    if text.get("multi_query_group_num") and not text.get("multi_query_attention", True):
        return heads
    return _find(text, "kv_heads") or heads


def _stored(config: Mapping[str, Any], text: Mapping[str, Any]) -> Stored | None:
    said = next((one[key] for one in (config, text) for key in ("dtype", "torch_dtype") if one.get(key)), None)
    names: Mapping[object, Stored] = {"float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}
    return names.get(str(said).removeprefix("torch."))


def _quantisation(config: Mapping[str, Any]) -> tuple[str, int] | None:
    """Method and bits of weights that stay quantised; fp8 and mxfp4 become plain numbers when they are loaded."""
    said = config.get("quantization_config")
    if not isinstance(said, Mapping) or said.get("quant_method") in ("fp8", "mxfp4"):
        return None
    bits = said.get("bits") or (8 if said.get("load_in_8bit") else 4)
    return str(said.get("quant_method", "bitsandbytes")), int(bits)


def _experts(text: Mapping[str, Any], family: Family, kind: str) -> Experts | None:
    if not family.experts:
        return None
    inner = int(text[family.expert_inner])
    shared = text.get("shared_expert_intermediate_size") or (text.get("n_shared_experts") or 0) * inner
    return Experts(
        count=_need(text, "experts", kind),
        chosen=_need(text, "chosen", kind),
        inner=inner,
        shared_inner=int(shared),
        dense=_dense(text),
    )


def _dense(text: Mapping[str, Any]) -> frozenset[int]:
    """By first_k_dense_replace (deepseek), mlp_only_layers and decoder_sparse_step (qwen)."""
    layers = range(_find(text, "layers") or 0)
    first, step = int(text.get("first_k_dense_replace") or 0), int(text.get("decoder_sparse_step") or 1)
    listed = frozenset(int(number) for number in text.get("mlp_only_layers") or ())
    return listed | frozenset(number for number in layers if number < first or (number + 1) % step)


def _latent(text: Mapping[str, Any]) -> Latent:
    return Latent(
        query_rank=int(text.get("q_lora_rank") or 0),
        value_rank=int(text["kv_lora_rank"]),
        rope=int(text["qk_rope_head_dim"]),
        plain=int(text["qk_nope_head_dim"]),
        value=int(text["v_head_dim"]),
    )
