"""Work of a token against PaLM's formula and torch's own count, and the peaks of GPUs by their names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from configs import LLAMA_7B, architecture, cfg, tiny
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from finetune_trainer.sizing import flops, parameters, peak_flops
from finetune_trainer.sizing.flops import Work
from finetune_trainer.sizing.peak_flops import Kind


def work(config: dict[str, Any], **keys: Any) -> Work:
    found = flops.of(cfg(**keys), architecture(config))
    assert found is not None
    return found


def multiplied(config: dict[str, Any]) -> int:
    """Numbers that a token is multiplied with: all but embeddings and norms."""
    counted = parameters.by_group(architecture(config))
    return sum(count for group, count in counted.items() if group not in ("embeddings", "norms"))


def test_a_full_training_takes_six_operations_for_each_weight_and_palms_attention() -> None:
    found = work(LLAMA_7B, finetuning_type="full")
    assert found.products == 6 * multiplied(LLAMA_7B)
    assert found.products == pytest.approx(6 * 6.607e9, rel=1e-3)
    assert found.attention == 12 * 32 * 4096
    assert found.of_token(2048) == found.products + 12 * 32 * 4096 * 2048


def test_frozen_weights_get_no_gradient_so_lora_takes_four_and_its_adapters_six() -> None:
    found = work(LLAMA_7B, finetuning_type="lora", lora_rank=8, lora_target="q_proj,v_proj")
    assert found.products == 4 * multiplied(LLAMA_7B) + 6 * 32 * 2 * 8 * (4096 + 4096)
    assert found.attention == 12 * 32 * 4096


def test_nothing_goes_back_below_the_lowest_layer_that_learns() -> None:
    model = architecture(LLAMA_7B)
    layer, head = (multiplied(LLAMA_7B) - 32000 * 4096) // 32, 32000 * 4096
    found = work(LLAMA_7B, finetuning_type="freeze", freeze_trainable_layers=2)
    learned = sum(weight.count for weight in parameters.layer(model, 31)) * 2
    assert found.products == 2 * multiplied(LLAMA_7B) + 2 * (2 * layer + head) + 2 * learned
    assert found.attention == 4 * 32 * 4096 + 8 * 2 * 4096


def test_a_token_goes_through_the_chosen_experts_alone() -> None:
    config = AutoConfig.for_model("qwen3_moe", **tiny("qwen3_moe")).to_dict()
    model = architecture(config)
    assert model.experts is not None
    others = model.experts.count - model.experts.chosen
    idle = sum(
        weight.count // model.experts.count * others
        for number in range(model.layers)
        for weight in parameters.layer(model, number)
        if weight.group == "experts"
    )
    assert idle > 0
    assert work(config, finetuning_type="full").products == 6 * (multiplied(config) - idle)


def test_a_reference_goes_forward_beside_the_model() -> None:
    plain, paired = work(LLAMA_7B, finetuning_type="full"), work(LLAMA_7B, finetuning_type="full", stage="dpo")
    assert paired.products == pytest.approx(plain.products * 8 / 6)
    assert work(LLAMA_7B, finetuning_type="full", stage="dpo", pref_loss="orpo").products == plain.products


@pytest.mark.parametrize("keys", [{"stage": "kto"}, {"stage": "ppo", "reward_model": "r"}, {"use_asft_loss": True}])
def test_a_method_of_unknown_work_has_none(keys: dict[str, Any]) -> None:
    assert flops.of(cfg(**keys), architecture(LLAMA_7B)) is None


def test_documents_that_see_themselves_alone_have_no_known_length() -> None:
    found = work(LLAMA_7B, finetuning_type="full", neat_packing=True)
    assert found.attention == 0
    assert found.products == work(LLAMA_7B, finetuning_type="full").products


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_torch_counts_as_many_operations(kind: str) -> None:
    """A whole step of a tiny model, eager attention, which computes what is behind the mask, too."""
    config = AutoConfig.for_model(kind, **tiny(kind))
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
    ids = torch.arange(64)[None] % 7
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids).loss.backward()
    expected = 64 * work(config.to_dict(), finetuning_type="full").of_token(64)
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("name", "kind", "tera"),
    [
        ("NVIDIA A800-SXM4-80GB", "bf16", 312),
        ("NVIDIA A100 80GB PCIe", "tf32", 156),
        ("NVIDIA H100 80GB HBM3", "bf16", 989.5),
        ("NVIDIA H100 PCIe", "fp16", 756.5),
        ("NVIDIA H100 NVL", "bf16", 835.5),
        ("NVIDIA H200", "bf16", 989.5),
        ("NVIDIA H20", "bf16", 148),
        ("NVIDIA L40S", "bf16", 362),
        ("NVIDIA A10", "bf16", 125),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2),
        ("Tesla V100-SXM2-32GB", "fp16", 125),
        ("Tesla V100-PCIE-16GB", "fp16", 112),
    ],
)
def test_a_known_gpu_has_its_makers_dense_peak(name: str, kind: Kind, tera: float) -> None:
    assert peak_flops.peak(name, kind) == pytest.approx(tera * 1e12)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NVIDIA A10G", "bf16"),
        ("NVIDIA L40", "bf16"),
        ("NVIDIA GH200 480GB", "bf16"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bf16"),
        ("NVIDIA GeForce RTX 4090 D", "bf16"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "bf16"),
        ("Tesla V100-SXM2-32GB", "bf16"),
        ("NVIDIA A100-SXM4-80GB", "fp32"),
        ("AMD Instinct MI300X", "bf16"),
    ],
)
def test_what_is_not_listed_is_not_guessed(name: str, kind: Kind) -> None:
    assert peak_flops.peak(name, kind) is None
