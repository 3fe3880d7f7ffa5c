"""config.json of models that people train, and of tiny ones of the same families."""

from __future__ import annotations

from typing import Any

from finetune_trainer.config import TrainConfig, parse
from finetune_trainer.sizing import Architecture, config_json

_SAID: dict[str, Any] = {
    "stage": "sft",
    "template": "default",
    "dataset": "rows",
    "output_dir": "saved",
    "model_name_or_path": "model",
    "per_device_train_batch_size": 1,
    "cutoff_len": 512,
}
_PLAIN = {"tie_word_embeddings": False, "torch_dtype": "bfloat16"}
LLAMA_7B = {
    **_PLAIN, "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32000, "rms_norm_eps": 1e-6,
}  # fmt: skip
QWEN_14B = {
    **_PLAIN, "model_type": "qwen2", "hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 48,
    "num_attention_heads": 40, "num_key_value_heads": 8, "vocab_size": 152064,
}  # fmt: skip
QWEN_32B = {**QWEN_14B, "intermediate_size": 27648, "num_hidden_layers": 64}
LLAMA_70B = {
    **LLAMA_7B, "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
    "num_key_value_heads": 8,
}  # fmt: skip
SEED_36B = {
    **_PLAIN, "model_type": "seed_oss", "hidden_size": 5120, "intermediate_size": 27648, "num_hidden_layers": 64,
    "num_attention_heads": 80, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 155136,
    "attention_bias": True, "attention_out_bias": False,
}  # fmt: skip
"""Stands in for TeleChat3-36B, whose config.json is not at hand: 36.15 B weights."""


def cfg(**keys: Any) -> TrainConfig:
    return parse({**_SAID, **keys})


def architecture(config: dict[str, Any]) -> Architecture:
    return config_json.read(config)


def tiny(kind: str, **changes: Any) -> dict[str, Any]:
    """Two narrow layers of a family, in transformers' names."""
    named: dict[str, Any] = {
        "hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 300, "head_dim": 16,
    }  # fmt: skip
    if kind in ("qwen2_moe", "qwen3_moe", "olmoe", "mixtral", "gpt_oss", "glm4_moe", "deepseek_v3"):
        named |= {
            "num_experts": 8, "num_local_experts": 8, "n_routed_experts": 8, "num_experts_per_tok": 2,
            "moe_intermediate_size": 48, "n_group": 1, "topk_group": 1,
        }  # fmt: skip
    if kind == "qwen2_moe":
        named["shared_expert_intermediate_size"] = 80
    if kind == "deepseek_v3":
        named |= {
            "first_k_dense_replace": 1, "q_lora_rank": 24, "kv_lora_rank": 16, "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 16, "v_head_dim": 16, "num_key_value_heads": 4,
        }  # fmt: skip
        del named["head_dim"]
    if kind in ("gpt_neox", "phi"):
        del named["num_key_value_heads"]
    if kind == "gpt2":
        named = {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 300, "n_positions": 128}
        named |= {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
    if kind in ("starcoder2", "seed_oss"):
        named |= {"residual_dropout": 0.0, "embedding_dropout": 0.0, "attention_dropout": 0.0}
    return {**named, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, **changes}
