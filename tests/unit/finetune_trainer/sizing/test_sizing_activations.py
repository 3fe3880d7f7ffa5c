"""What layers keep for the backward pass: the formulas against autograd's own saved tensors."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.unit.finetune_trainer.sizing.configs import architecture, cfg, tiny
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from finetune_trainer.sizing import activations, layout, numbers, trained
from finetune_trainer.sizing.architecture import Architecture

ROWS, LENGTH = 2, 96
WAYS: dict[str, dict[str, Any]] = {"fp32": {}, "autocast": {"bf16": True}, "bf16": {"pure_bf16": True}}
EXACT = (
    "llama", "mistral", "qwen2", "qwen3", "gemma3_text", "starcoder2", "olmo2", "granite", "seed_oss", "qwen3_moe",
    "olmoe", "mixtral",
)  # fmt: skip
CLOSE = ("gemma2", "phi3", "gpt2", "gpt_neox", "glm4", "cohere", "qwen2_moe", "gpt_oss", "stablelm", "phi")


def kept(model: nn.Module, *, mixed: bool, masked: bool) -> float:
    """Bytes for each token that a forward pass saves and that are no weights."""
    ids = torch.randint(3, 299, (ROWS, LENGTH))
    mask = torch.ones_like(ids)
    if masked:
        mask[1, -20:] = 0
    weights = {weight.untyped_storage().data_ptr() for weight in (*model.parameters(), *model.buffers())}
    seen: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    model.train()
    with (
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        _ = model(input_ids=ids, attention_mask=mask)
        return sum(seen.values()) / (ROWS * LENGTH)


def formula(model: Architecture, *, masked: bool, dropout: bool = False, **keys: Any) -> float:
    """The same by our formulas, with the casts of weights, which autograd saves too."""
    asked = cfg(**keys)
    learns = trained.of(asked, model)
    lay = layout.of(asked, width=model.width, ranks=1)
    num = numbers.of(asked, model, lay, adapters=not learns.base, gpu=False)
    way = activations.Way(
        numbers=num,
        trained=learns,
        length=LENGTH,
        masked=masked,
        eager=model.family.eager,
        dropout=dropout,
        fused=False,
        gpu=False,
    )
    layers = sum(activations.of_layer(model, number, way) for number in range(model.layers))
    casts = 2 * learns.cast / (ROWS * LENGTH) if num.autocast else 0.0
    return layers + activations.of_end(model, way) + casts


def model_of(kind: str, dtype: torch.dtype) -> tuple[Any, Architecture]:
    config = AutoConfig.for_model(kind, **tiny(kind))
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.config.use_cache = False
    return model, architecture(json.loads(config.to_json_string(use_diff=False)))


@pytest.mark.parametrize(
    ("kind", "tolerance"), [*((kind, 0.015) for kind in EXACT), *((kind, 0.075) for kind in CLOSE)]
)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("masked", [False, True])
def test_a_model_that_learns_in_full(kind: str, tolerance: float, way: str, *, masked: bool) -> None:
    model, described = model_of(kind, torch.bfloat16 if way == "bf16" else torch.float32)
    measured = kept(model, mixed=way == "autocast", masked=masked)
    assert formula(described, masked=masked, finetuning_type="full", **WAYS[way]) == pytest.approx(
        measured, rel=tolerance
    )


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("targets", ["all", "q_proj,v_proj"])
@pytest.mark.parametrize("way", ["fp32", "autocast", "bf16", "zero3"])
def test_an_adapter(way: str, targets: str, dropout: float) -> None:
    """Its weights are float32, and each layer's input is copied for them; under ZeRO-3 they are as the base's."""
    base, described = model_of("llama", torch.float32 if way == "fp32" else torch.bfloat16)
    wanted: Any = "all-linear" if targets == "all" else targets.split(",")
    base.enable_input_require_grads()  # as in a run; else the first layer keeps no mask of its dropout
    model = get_peft_model(base, LoraConfig(r=8, target_modules=wanted, lora_dropout=dropout))
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.bfloat16() if way == "zero3" else weight.data.float()
    said = {"bf16": True, "deepspeed": "zero3"} if way == "zero3" else WAYS[way]
    keys = {"finetuning_type": "lora", "lora_rank": 8, "lora_target": targets, "lora_dropout": dropout, **said}
    found = formula(described, masked=False, dropout=dropout > 0, **keys)
    assert found == pytest.approx(kept(model, mixed=way == "autocast", masked=False), rel=0.06)
