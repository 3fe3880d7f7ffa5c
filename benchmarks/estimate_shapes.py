"""The shapes of benchmarks.estimate: models of random weights, large enough for 3 GB of tensors and more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_TOKENIZER = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
_LLAMA = {
    **_TOKENIZER, "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 1024,
    "intermediate_size": 2816, "num_hidden_layers": 10, "num_attention_heads": 16, "num_key_value_heads": 4,
    "vocab_size": 32000, "max_position_embeddings": 8192, "tie_word_embeddings": False, "dtype": "bfloat16",
}  # fmt: skip
_LARGER = {**_LLAMA, "hidden_size": 1536, "intermediate_size": 4096, "num_hidden_layers": 12, "vocab_size": 48000}
_FEW_TOKENS = {**_LARGER, "vocab_size": 4096}
_QWEN2 = {
    **_LARGER, "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "num_attention_heads": 12,
    "num_key_value_heads": 2,
}  # fmt: skip
_QWEN3 = {
    **_LLAMA, "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "head_dim": 128,
    "num_attention_heads": 16, "tie_word_embeddings": True, "vocab_size": 64000,
}  # fmt: skip
_GEMMA = {
    **_LLAMA, "model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], "head_dim": 128,
    "num_attention_heads": 8, "num_key_value_heads": 2, "tie_word_embeddings": True, "vocab_size": 96000,
    "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 4096,
}  # fmt: skip
_MOE = {
    **_LLAMA, "model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "head_dim": 64,
    "num_experts": 8, "num_local_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 1024,
    "num_hidden_layers": 8, "decoder_sparse_step": 1, "mlp_only_layers": [],
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A model and how it is trained."""

    name: str
    model: Mapping[str, Any]
    keys: Mapping[str, Any]
    """Of train.yaml: method, type, micro batch, length."""
    ranks: int = 1
    held_out: bool = False
    """Measured only after the formulas were written down."""
    data: str = field(default="documents")
    """`documents` fill every row; of `talks` one row in three is full, so that the others are padded."""


def _shape(name: str, model: Mapping[str, Any], batch: str, **more: Any) -> Shape:  # noqa: ANN401
    """`batch`: rows x length, with `ckpt` behind it where activations are computed again."""
    rows, _, length = batch.removesuffix(" ckpt").partition("x")
    keys = {
        "per_device_train_batch_size": int(rows),
        "cutoff_len": int(length),
        "disable_gradient_checkpointing": not batch.endswith("ckpt"),
        **more.pop("keys", {}),
    }
    return Shape(name=f"{name}, {batch}", model=model, keys=keys, **more)


_BF16 = {"finetuning_type": "full", "bf16": True}
_FP32 = {"finetuning_type": "full"}
_LORA = {"finetuning_type": "lora", "lora_rank": 16}

SHAPES: tuple[Shape, ...] = (
    _shape("full fp32", _LLAMA, "2x1024", keys=_FP32),
    _shape("full bf16", _LLAMA, "4x512", keys=_BF16),
    _shape("full bf16", _LARGER, "1x2048 ckpt", keys=_BF16),
    _shape("full fp32, 2 accumulated", _LARGER, "2x512 ckpt", keys={**_FP32, "gradient_accumulation_steps": 2}),
    _shape("LoRA bf16", _LARGER, "4x512", keys={**_LORA, "bf16": True}),
    _shape("LoRA bf16", _LARGER, "1x4096 ckpt", keys={**_LORA, "bf16": True}),
    _shape("LoRA fp32, dropout", _LLAMA, "2x1024", keys={**_LORA, "lora_dropout": 0.1}),
    _shape("small vocabulary, full bf16", _FEW_TOKENS, "4x2048 ckpt", keys=_BF16),
    _shape("small vocabulary, LoRA bf16", _FEW_TOKENS, "1x3072", keys={**_LORA, "bf16": True}),
    _shape("DDP full bf16", _LLAMA, "2x512", ranks=2, keys=_BF16),
    _shape("ZeRO-0 full bf16", _LLAMA, "2x512", ranks=2, keys={**_BF16, "deepspeed": "zero0"}),
    _shape("ZeRO-2 full bf16", _LLAMA, "1x2048", ranks=2, keys={**_BF16, "deepspeed": "zero2"}),
    _shape("ZeRO-3 full bf16", _LARGER, "1x2048 ckpt", ranks=2, keys={**_BF16, "deepspeed": "zero3"}),
    _shape("ZeRO-3 full fp32", _LLAMA, "1x1024", ranks=2, keys={**_FP32, "deepspeed": "zero3"}),
    _shape("ZeRO-3 LoRA bf16, qwen2", _QWEN2, "1x2048", ranks=2, keys={**_LORA, "bf16": True, "deepspeed": "zero3"}),
    _shape("qwen3 full bf16, padded", _QWEN3, "3x512", keys={**_BF16, "stage": "sft"}, data="talks", held_out=True),
    _shape("gemma3 full bf16", _GEMMA, "2x1024 ckpt", keys=_BF16, held_out=True),
    _shape("mixture of experts full bf16", _MOE, "1x1024", keys=_BF16, held_out=True),
    _shape(
        "ZeRO-3 LoRA bf16", _LARGER, "1x4096 ckpt", ranks=2, keys={**_LORA, "bf16": True, "deepspeed": "zero3"},
        held_out=True,
    ),
)  # fmt: skip
