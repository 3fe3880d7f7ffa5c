"""Quantised base models, made while they load and stored so: what they weigh, how near they are, what moves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.functional import has_avx512bf16
from safetensors.torch import load_file, save_file
from tests.tiny_model import make_tiny_model
from torch import nn
from transformers import AutoModelForCausalLM, GptOssConfig, GptOssForCausalLM

from finetune_trainer import config, model
from finetune_trainer.failures import RunError

CPU = torch.device("cpu")
FP8_BLOCK = 32
FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
FP4_BLOCK = 32


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def ids() -> torch.Tensor:
    return torch.randint(5, 500, (2, 32), generator=torch.Generator().manual_seed(0))


def cfg(folder: Path, **keys: Any) -> config.TrainConfig:
    said = {
        "do_train": True,
        "model_name_or_path": str(folder),
        "dataset": "d",
        "template": "llama3",
        "output_dir": "o",
    }
    return config.parse({**said, "use_cpu": True, **keys})


def load(folder: Path, **keys: Any) -> Any:
    found = cfg(folder, **keys)
    torch.manual_seed(0)
    return model.load(found, model.load_tokenizer(found), device=CPU)


def weight_error(loaded: Any, folder: Path, ids: torch.Tensor) -> float:
    """How far the hidden states are from the unquantised model's, relative."""
    plain = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        ours, theirs = (found.eval()(input_ids=ids).logits for found in (loaded, plain))
    return float((ours - theirs).norm() / theirs.norm())


def layer(loaded: Any) -> nn.Module:
    found: nn.Module = loaded.get_base_model().model.layers[0].mlp.up_proj
    return getattr(found, "base_layer", found)


@pytest.mark.shows("quantization_bit", "quantization_type", "double_quantization")
def test_bitsandbytes_quantises_while_it_loads(tiny: Path, ids: torch.Tensor) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "plain": {},
        "int8": {"quantization_bit": 8},
        "nf4": {"quantization_bit": 4},
        "fp4": {"quantization_bit": 4, "quantization_type": "fp4"},
        "nf4 simple": {"quantization_bit": 4, "double_quantization": False},
    }
    loaded = {name: load(tiny, **keys) for name, keys in kinds.items()}
    size = {name: found.get_memory_footprint() for name, found in loaded.items()}
    off = {name: weight_error(found, tiny, ids) for name, found in loaded.items()}
    assert size["nf4"] < size["int8"] < size["plain"]
    assert off["plain"] == 0 < off["int8"] < off["nf4"] < off["fp4"] < 0.5
    assert layer(loaded["fp4"]).weight.quant_type == "fp4"
    assert layer(loaded["nf4"]).weight.quant_state.nested
    assert not layer(loaded["nf4 simple"]).weight.quant_state.nested
    assert off["nf4"] != off["nf4 simple"]


def test_four_bits_are_stored_in_the_type_that_is_computed_in(tiny: Path) -> None:
    """FSDP flattens weights of one type only."""
    assert layer(load(tiny, quantization_bit=4, bf16=True)).weight.dtype is torch.bfloat16
    assert layer(load(tiny, quantization_bit=4)).weight.dtype is torch.float32


def test_only_the_adapter_moves(tiny: Path) -> None:
    for keys in ({"quantization_bit": 4}, {"quantization_bit": 4, "use_dora": True}, {"quantization_bit": 8}):
        trained = [name for name, weight in load(tiny, **keys).named_parameters() if weight.requires_grad]
        assert trained
        assert all("lora_" in name for name in trained)


def gradients(adapted: Any, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    adapted.train()
    adapted.zero_grad(set_to_none=True)
    adapted(input_ids=ids, labels=ids).loss.backward()
    return {name: weight.grad.clone() for name, weight in adapted.named_parameters() if "lora_B" in name}


def wrong_after_evaluation(adapted: Any, ids: torch.Tensor) -> int:
    """How many of the adapter's gradients differ once the model has evaluated."""
    before = gradients(adapted, ids)
    adapted.eval()
    with torch.no_grad():
        adapted(input_ids=ids)
    after = gradients(adapted, ids)
    return sum(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("keys", [{}, {"bf16": True}], ids=str)
def test_gradients_are_right_after_an_evaluation(tiny: Path, ids: torch.Tensor, keys: dict[str, Any]) -> None:
    assert wrong_after_evaluation(load(tiny, quantization_bit=4, **keys), ids) == 0


@pytest.mark.skipif(not has_avx512bf16(), reason="this CPU packs no weights")
def test_bitsandbytes_still_packs_weights_when_it_evaluates(tiny: Path, ids: torch.Tensor) -> None:
    """When this fails, `bitsandbytes.forbid_packing` is no longer needed."""
    adapted = load(tiny, quantization_bit=4)
    for module in adapted.modules():
        if type(module).__name__ == "Linear4bit":
            module.support_avx512bf16_for_cpu = True
    assert wrong_after_evaluation(adapted, ids) > 5


@pytest.mark.shows("quantization_method")
def test_hqq_comes_nearer_with_each_bit(tiny: Path, ids: torch.Tensor) -> None:
    off = {
        bits: weight_error(load(tiny, quantization_method="hqq", quantization_bit=bits), tiny, ids)
        for bits in (2, 4, 8)
    }
    assert off[8] < 0.05 < off[4] < off[2]
    adapted = load(tiny, quantization_method="hqq", quantization_bit=4)
    assert type(layer(adapted)).__name__ == "HQQLinear"
    found = gradients(adapted, ids)
    assert len(found) == 14
    assert all(gradient.norm() > 0 for gradient in found.values())
    assert wrong_after_evaluation(adapted, ids) == 0


def test_what_a_way_to_quantise_lacks_is_said_in_one_line(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        RunError, match="quantization_method: eetq needs a GPU, and this run has none; write quantization_method: bnb"
    ):
        load(tiny, quantization_method="eetq", quantization_bit=8)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for method in ("bnb", "hqq"):
        with pytest.raises(RunError, match=f"quantization_method: {method} needs the Python package .* not installed"):
            load(tiny, quantization_method=method, quantization_bit=4)


@pytest.fixture
def said_to_be(tiny: Path, tmp_path: Path) -> Iterator[Any]:
    """The tiny model, with a quantization_config in its config.json."""

    def make(**quantisation: Any) -> Path:
        folder = tmp_path / str(quantisation["quant_method"])
        shutil.copytree(tiny, folder, dirs_exist_ok=True)
        say(folder, quantisation)
        return folder

    return make


def say(folder: Path, quantisation: dict[str, Any]) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": quantisation}))


@pytest.mark.parametrize(
    ("method", "package"), [("gptq", "gptqmodel"), ("awq", "gptqmodel"), ("aqlm", "aqlm"), ("eetq", "kernels")]
)
def test_a_stored_way_needs_its_package(said_to_be: Any, method: str, package: str) -> None:
    with pytest.raises(
        RunError, match=f"stored in {method} needs the Python package {package}, which is not installed"
    ):
        load(said_to_be(quant_method=method, bits=4))


def test_what_cannot_be_done_with_a_stored_way_is_said(said_to_be: Any) -> None:
    folder = said_to_be(quant_method="gptq", bits=4)
    for key, keys in (
        ("finetuning_type", {"finetuning_type": "full"}),
        ("finetuning_type", {"finetuning_type": "freeze"}),
        ("use_dora", {"use_dora": True}),
        ("pissa_init", {"pissa_init": True, "pissa_convert": True}),
        ("resize_vocab", {"resize_vocab": True}),
    ):
        with pytest.raises(
            RunError, match=f"^{key}: the model is stored in gptq, which takes one LoRA or OFT adapter"
        ):
            load(folder, **keys)
    with pytest.raises(RunError, match="quantization_bit: the model is stored in gptq already; leave it out"):
        load(folder, quantization_bit=4)
    with pytest.raises(
        RunError, match=r"stored in spqr, upon which nothing can be trained here \(what can: aqlm, awq,"
    ):
        load(said_to_be(quant_method="spqr"))


def test_a_model_that_bitsandbytes_stored_takes_an_adapter(tiny: Path, tmp_path: Path, ids: torch.Tensor) -> None:
    stored = load(tiny, quantization_bit=4).unload()
    stored.save_pretrained(tmp_path / "nf4")
    shutil.copy(tiny / "tokenizer.json", tmp_path / "nf4")
    shutil.copy(tiny / "tokenizer_config.json", tmp_path / "nf4")
    adapted = load(tmp_path / "nf4")
    assert type(layer(adapted)).__name__ == "Linear4bit"
    assert wrong_after_evaluation(adapted, ids) == 0
    with pytest.raises(RunError, match="finetuning_type: the model is stored in bitsandbytes"):
        load(tmp_path / "nf4", finetuning_type="full")


def in_fp8(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Linear layers in float8_e4m3fn, one scale for each block of 32 times 32, as DeepSeek stores them."""
    stored = dict(weights)
    for name, weight in weights.items():
        if "proj" not in name:
            continue
        rows, columns = weight.shape
        blocks = weight.reshape(rows // FP8_BLOCK, FP8_BLOCK, columns // FP8_BLOCK, FP8_BLOCK)
        scale = blocks.abs().amax((1, 3)) / 448
        stored[name] = (blocks / scale[:, None, :, None]).reshape(rows, columns).to(torch.float8_e4m3fn)
        stored[f"{name}_scale_inv"] = scale
    return stored


def in_mxfp4(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Experts in four-bit floats, two in a byte, with a power of two for each 32 of them, as gpt_oss stores them."""
    stored: dict[str, torch.Tensor] = {}
    for name, weight in weights.items():
        if not name.endswith(("gate_up_proj", "down_proj")):
            stored[name] = weight
            continue
        turned = weight.transpose(1, 2)
        blocks = turned.reshape(*turned.shape[:2], -1, FP4_BLOCK)
        power = torch.ceil(torch.log2(blocks.abs().amax(-1, keepdim=True) / 6))
        nearest = (blocks / 2**power)[..., None].sub(FP4).abs().argmin(-1).to(torch.uint8)
        stored[f"{name}_blocks"] = nearest[..., 0::2] | (nearest[..., 1::2] << 4)
        stored[f"{name}_scales"] = (power[..., 0] + 127).to(torch.uint8)
    return stored


def store(folder: Path, weights: dict[str, torch.Tensor], quantisation: dict[str, Any]) -> None:
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    say(folder, quantisation)


def assert_saves_what_it_is(loaded: Any, folder: Path, ids: torch.Tensor) -> None:
    """transformers 5.23 alone would save a dequantised model's weights under the names of scales."""
    loaded.save_pretrained(folder)
    again = AutoModelForCausalLM.from_pretrained(folder)
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    with torch.no_grad():
        assert torch.equal(again.eval()(input_ids=ids).logits, loaded.eval()(input_ids=ids).logits)


def test_fp8_becomes_plain_numbers_and_can_be_trained_in_full(tiny: Path, tmp_path: Path, ids: torch.Tensor) -> None:
    folder = tmp_path / "fp8"
    shutil.copytree(tiny, folder)
    plain = load_file(tiny / "model.safetensors")
    store(folder, in_fp8(plain), {"quant_method": "fp8", "weight_block_size": [FP8_BLOCK, FP8_BLOCK]})
    loaded = load(folder, finetuning_type="full")
    name = "model.layers.0.mlp.up_proj.weight"
    weight = loaded.get_parameter(name)
    assert weight.requires_grad
    assert weight.dtype is torch.float32
    assert 0.01 < (weight - plain[name]).norm() / plain[name].norm() < 0.04
    assert_saves_what_it_is(loaded, tmp_path / "saved", ids)
    assert load(folder, use_dora=True) is not None


def test_mxfp4_becomes_plain_numbers_and_can_be_trained_in_full(tiny: Path, tmp_path: Path, ids: torch.Tensor) -> None:
    settings = GptOssConfig(
        vocab_size=4000, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, num_local_experts=4, num_experts_per_tok=2, max_position_embeddings=512,
        initializer_range=0.1, layer_types=["sliding_attention", "full_attention"],
    )  # fmt: skip
    torch.manual_seed(0)
    experts = GptOssForCausalLM(settings).float()
    folder = tmp_path / "mxfp4"
    shutil.copytree(tiny, folder)
    experts.save_pretrained(folder)
    kept = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    store(
        folder,
        in_mxfp4(load_file(folder / "model.safetensors")),
        {"quant_method": "mxfp4", "modules_to_not_convert": kept},
    )
    loaded = load(folder, finetuning_type="full")
    weight, was = (found.model.layers[0].mlp.experts.gate_up_proj for found in (loaded, experts))
    assert weight.requires_grad
    assert 0.05 < (weight - was).norm() / was.norm() < 0.2
    assert_saves_what_it_is(loaded, tmp_path / "saved", ids)
