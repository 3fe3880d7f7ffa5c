"""Blocks of experts are gathered whole under ZeRO-3."""

from __future__ import annotations

import pytest
from deepspeed.utils import z3_leaf_module
from transformers import AutoModelForCausalLM, LlamaConfig, MixtralConfig, Qwen3MoeConfig

from finetune_trainer.model import leaves

SMALL = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


@pytest.mark.parametrize(
    ("config", "block"),
    [
        (MixtralConfig(**SMALL, num_local_experts=4, num_key_value_heads=2), "MixtralSparseMoeBlock"),
        (
            Qwen3MoeConfig(**SMALL, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=8, head_dim=8),
            "Qwen3MoeSparseMoeBlock",
        ),
    ],
)
def test_blocks_of_experts_are_leaves(config: MixtralConfig | Qwen3MoeConfig, block: str) -> None:
    model = AutoModelForCausalLM.from_config(config)
    assert leaves.keep_whole(model) == [block]
    marked = [type(module).__name__ for module in model.modules() if z3_leaf_module(module)]
    assert marked == [block, block]


def test_a_dense_model_has_none() -> None:
    assert leaves.keep_whole(AutoModelForCausalLM.from_config(LlamaConfig(**SMALL))) == []
