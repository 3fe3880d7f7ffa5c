"""How many weights a model has: against transformers' own models without weights, and published counts."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from tests.unit.finetune_trainer.sizing.configs import LLAMA_7B, SEED_36B, architecture, cfg, tiny
from transformers import AutoConfig, AutoModelForCausalLM

from finetune_trainer.model import tuning
from finetune_trainer.sizing import ArchitectureUnknown, TargetUnknown, parameters, trained

FAMILIES = (
    "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "gpt2", "gpt_neox", "starcoder2",
    "olmo2", "granite", "glm", "glm4", "seed_oss", "smollm3", "cohere", "phi", "stablelm", "exaone4", "ernie4_5",
    "mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "gpt_oss", "glm4_moe", "deepseek_v3",
)  # fmt: skip


def meta_model(kind: str, **changes: Any) -> tuple[Any, dict[str, Any]]:
    """A model without weights, and its config.json as it would be saved."""
    config = AutoConfig.for_model(kind, **tiny(kind, **changes))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return model, json.loads(config.to_json_string(use_diff=False))


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_every_weight_is_counted(kind: str, *, tied: bool) -> None:
    model, config = meta_model(kind, tie_word_embeddings=tied)
    there = sum(weight.numel() for weight in model.parameters())
    assert parameters.total(architecture(config)) == there


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"attention_bias": True, "mlp_bias": True}, "llama"),
        ({"decoder_sparse_step": 2}, "qwen3_moe"),
        ({"mlp_only_layers": [1]}, "qwen2_moe"),
        ({"use_qk_norm": True}, "glm4_moe"),
        ({"q_lora_rank": None}, "deepseek_v3"),
        ({"num_key_value_heads": 4}, "olmo2"),
    ],
)
def test_what_config_json_says_counts(changes: dict[str, Any], kind: str) -> None:
    model, config = meta_model(kind, **changes)
    assert parameters.total(architecture(config)) == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize(
    ("config", "published"),
    [
        (LLAMA_7B, 6_738_415_616),
        (SEED_36B, 36_151_104_512),
        # chatglm3-6b, internlm2-7b, Baichuan2-7B: code of their own, which transformers has not
        (
            {
                "model_type": "chatglm", "hidden_size": 4096, "ffn_hidden_size": 13696, "num_layers": 28,
                "num_attention_heads": 32, "multi_query_attention": True, "multi_query_group_num": 2,
                "kv_channels": 128, "padded_vocab_size": 65024, "add_qkv_bias": True, "tie_word_embeddings": False,
            },
            6_243_584_000,
        ),
        (
            {
                "model_type": "internlm2", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
                "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 92544, "bias": False,
                "tie_word_embeddings": False,
            },
            7_737_708_544,
        ),
        (
            {
                "model_type": "baichuan", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
                "num_attention_heads": 32, "vocab_size": 125696, "tie_word_embeddings": False,
            },
            7_505_973_248,
        ),
    ],
)  # fmt: skip
def test_published_counts(config: dict[str, Any], published: int) -> None:
    assert parameters.total(architecture(config)) == published


@pytest.mark.parametrize(
    "keys",
    [
        {"finetuning_type": "full"},
        {"finetuning_type": "freeze", "freeze_trainable_layers": 1},
        {"finetuning_type": "freeze", "freeze_trainable_layers": -1, "freeze_trainable_modules": "mlp"},
        {"finetuning_type": "freeze", "freeze_trainable_layers": 1, "freeze_extra_modules": "embed_tokens,norm"},
        {"finetuning_type": "lora", "lora_rank": 4},
        {"finetuning_type": "lora", "lora_target": "q_proj,v_proj", "use_dora": True},
        {"finetuning_type": "lora", "additional_target": "embed_tokens,lm_head"},
        {"finetuning_type": "oft", "oft_block_size": 8},
    ],
)
@pytest.mark.parametrize("kind", ["llama", "qwen3", "mixtral"])
def test_what_learns_is_what_tuning_lets_learn(kind: str, keys: dict[str, Any]) -> None:
    model, config = meta_model(kind, tie_word_embeddings=False)
    asked = cfg(**keys)
    moved = tuning.make_trainable(asked, AutoModelForCausalLM.from_config(model.config))
    there = sum(weight.numel() for weight in moved.parameters() if weight.requires_grad)
    assert trained.of(asked, architecture(config)).total == there


def test_a_target_that_is_not_there_is_named() -> None:
    with pytest.raises(TargetUnknown, match="no query_key_value; it has down_proj, gate_proj"):
        trained.of(cfg(finetuning_type="lora", lora_target="query_key_value"), architecture(LLAMA_7B))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({**LLAMA_7B, "num_hidden_layers": None}, "none of num_hidden_layers, n_layer, num_layers"),
        ({**LLAMA_7B, "model_type": "falcon_h1", "mamba_d_state": 16}, "no attention .mamba_d_state"),
        (
            {**LLAMA_7B, "model_type": "new_moe", "num_experts": 8},
            "type new_moe is not known here, and it has experts",
        ),
        ({"model_type": "opt", "hidden_size": 64, "ffn_dim": 64}, "has no intermediate_size"),
        ({"model_type": "llava", "vision_config": {}}, "only text models are sized"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ArchitectureUnknown, match=words):
        architecture(config)


def test_an_unknown_family_with_llamas_names_is_taken_for_one_and_says_so() -> None:
    model = architecture({**LLAMA_7B, "model_type": "telechat3"})
    assert model.assumed
    assert parameters.total(model) == 6_738_415_616


def test_a_text_model_inside_is_found() -> None:
    outer = {"model_type": "gemma3", "text_config": {**LLAMA_7B, "model_type": "gemma3_text"}, "vision_config": {}}
    assert architecture(outer).kind == "gemma3_text"
