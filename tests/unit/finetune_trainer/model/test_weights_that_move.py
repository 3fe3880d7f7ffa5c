"""Which weights move, for each key: what wants a gradient, what is saved, what answers after loading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tests.tiny_model import make_tiny_model
from transformers import AutoModelForCausalLM

from finetune_trainer import config, model
from finetune_trainer.failures import ModelNotFound, RunError
from finetune_trainer.model import precision
from finetune_trainer.model.tuning import pissa

IDS = torch.arange(24)[None]
PER_BLOCK = 9
"""Parameters of a block of the tiny llama."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tuned"))


def cfg(tiny: Path, **keys: Any) -> config.TrainConfig:
    said = {"do_train": True, "model_name_or_path": str(tiny), "dataset": "d", "template": "llama3", "output_dir": "o"}
    return config.parse({**said, "use_cpu": True, "disable_gradient_checkpointing": True, **keys})


def load(tiny: Path, **keys: Any) -> Any:
    found = cfg(tiny, **keys)
    torch.manual_seed(found.training.seed)
    return model.load(found, model.load_tokenizer(found), device=torch.device("cpu"))


def base(tiny: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)


def moving(loaded: torch.nn.Module) -> set[str]:
    return {name for name, weight in loaded.named_parameters() if weight.requires_grad}


def answers(loaded: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return loaded.eval()(IDS).logits  # type: ignore[no-any-return]


def shake(loaded: torch.nn.Module) -> torch.Tensor:
    """Move what moves, as training would; the answers then."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in loaded.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=draw) * 0.05)
    return answers(loaded)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return (one - other).abs().max().item()


@pytest.mark.shows("finetuning_type", "freeze_trainable_layers", "freeze_trainable_modules", "freeze_extra_modules")
@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ({"freeze_trainable_layers": 1}, ["model.layers.1."]),
        ({"freeze_trainable_layers": -1}, ["model.layers.0."]),
        ({"freeze_trainable_layers": 9}, ["model.layers."]),
        ({"freeze_trainable_layers": 1, "freeze_trainable_modules": "mlp"}, ["model.layers.1.mlp."]),
        ({"freeze_trainable_layers": 0, "freeze_extra_modules": "norm"}, ["model.norm."]),
        (
            {"freeze_trainable_layers": 1, "freeze_extra_modules": "lm_head"},
            ["model.layers.1.", "model.embed_tokens."],
        ),
    ],
    ids=str,
)
def test_freeze_moves_what_is_named(tiny: Path, keys: dict[str, Any], wanted: list[str]) -> None:
    loaded = load(tiny, finetuning_type="freeze", **keys)
    expected = {name for name, _ in loaded.named_parameters() if name.startswith(tuple(wanted))}
    assert moving(loaded) == expected != set()


def test_freeze_names_what_the_model_has(tiny: Path) -> None:
    with pytest.raises(
        RunError, match="freeze_trainable_modules: this model has no attn there; it has all, input_lay"
    ):
        load(tiny, finetuning_type="freeze", freeze_trainable_modules="attn,mlp")
    with pytest.raises(RunError, match="freeze_extra_modules: this model has no wte there; it has embed_tokens, lm_"):
        load(tiny, finetuning_type="freeze", freeze_extra_modules="wte")


@pytest.mark.shows("use_llama_pro")
def test_llama_pro_moves_the_last_block_of_each_group(tiny: Path) -> None:
    pro = load(tiny, finetuning_type="freeze", use_llama_pro=True, freeze_trainable_layers=1)
    assert {name.split(".")[2] for name in moving(pro)} == {"1"}
    both = load(tiny, finetuning_type="freeze", use_llama_pro=True, freeze_trainable_layers=2)
    assert len(moving(both)) == 2 * PER_BLOCK
    adapted = load(tiny, use_llama_pro=True, freeze_trainable_layers=1)
    assert all(".layers.1." in name for name in moving(adapted))
    assert len(moving(adapted)) == 14
    with pytest.raises(RunError, match="divides the model's 2; got 3"):
        load(tiny, use_llama_pro=True, freeze_trainable_layers=3)


@pytest.mark.shows("lora_target", "lora_rank", "lora_alpha", "lora_dropout", "use_rslora", "use_dora")
def test_lora_keys_are_pefts(tiny: Path) -> None:
    loaded = load(
        tiny, lora_rank=4, lora_alpha=2, lora_dropout=0.5, lora_target="self_attn.q_proj,down_proj", use_rslora=True
    )
    adapted = {name.split(".lora_")[0].rpartition(".")[2] for name in moving(loaded)}
    assert adapted == {"q_proj", "down_proj"}
    layer = loaded.get_submodule("base_model.model.model.layers.0.self_attn.q_proj")
    assert layer.scaling["default"] == 2 / 4**0.5
    assert layer.lora_A["default"].weight.shape == (4, 64)
    shake(loaded)
    assert apart(loaded.train()(IDS).logits, loaded.train()(IDS).logits) > 1e-3, "dropout"
    assert any("magnitude" in name for name in moving(load(tiny, use_dora=True)))
    assert load(tiny, lora_target="all,embed_tokens").peft_config["default"].target_modules >= {
        "embed_tokens",
        "q_proj",
    }


def test_a_target_that_is_not_there_or_cannot_be_adapted_is_named(tiny: Path) -> None:
    with pytest.raises(RunError, match=r"lora_target: this model has no attn\.q_proj; it has down_proj"):
        load(tiny, lora_target="attn.q_proj")
    with pytest.raises(RunError, match="lora_target: Target module LlamaRMSNorm"):
        load(tiny, lora_target="input_layernorm")
    with pytest.raises(RunError, match=r"additional_target: this model has no score; it has .*embed_tokens"):
        load(tiny, additional_target="score")


@pytest.mark.shows("oft_rank", "oft_block_size", "oft_target")
def test_oft_keys_are_pefts(tiny: Path, tmp_path: Path) -> None:
    blocks = load(tiny, finetuning_type="oft", oft_block_size=16, oft_target="q_proj")
    assert {name.split(".")[6] for name in moving(blocks)} == {"q_proj"}
    ranks = load(tiny, finetuning_type="oft", oft_rank=2, oft_target="q_proj")
    sizes = [sum(p.numel() for p in one.parameters() if p.requires_grad) for one in (blocks, ranks)]
    assert sizes == [2 * 4 * (16 * 15 // 2), 2 * 2 * (32 * 31 // 2)]
    moved = shake(ranks)
    ranks.save_pretrained(tmp_path)
    for kind in ("oft", "lora"):  # LLaMA-Factory wants it called lora
        again = load(tiny, finetuning_type=kind, adapter_name_or_path=str(tmp_path))
        assert apart(answers(again), moved) < 1e-5
        assert len(moving(again)) == 2
    with pytest.raises(RunError, match="oft_target: this model has no c_attn"):
        load(tiny, finetuning_type="oft", oft_target="c_attn")


@pytest.mark.shows("module_dropout")
def test_peft_still_forgets_ofts_dropout() -> None:
    """The day it fails, module_dropout can be handed to OFTConfig."""
    from peft import OFTConfig, get_peft_model

    layer = torch.nn.Sequential(torch.nn.Linear(8, 8))
    dropping: Any = get_peft_model(
        layer, OFTConfig(oft_block_size=2, target_modules=["0"], module_dropout=0.5)
    ).train()  # type: ignore[arg-type]
    with torch.no_grad():
        for weight in dropping.parameters():
            weight.add_(0.3 if weight.requires_grad else 0.0)
    rows = torch.ones(1, 8)
    assert len({tuple(dropping(rows)[0].tolist()) for _ in range(8)}) == 1
    with pytest.raises(
        config.ConfigInvalid, match=r"module_dropout: 0\.5: peft makes OFT's dropout but never applies it"
    ):
        config.parse({"do_train": True, "finetuning_type": "oft", "module_dropout": 0.5})


@pytest.mark.shows("additional_target")
def test_modules_beside_the_adapter_move_and_are_saved(tiny: Path, tmp_path: Path) -> None:
    loaded = load(tiny, additional_target="model.norm,embed_tokens")
    beside = {name for name in moving(loaded) if "lora_" not in name}
    assert {name.split(".")[-4] for name in beside} == {"norm", "embed_tokens"}
    moved = shake(loaded)
    loaded.save_pretrained(tmp_path)
    assert apart(answers(PeftModel.from_pretrained(base(tiny), tmp_path)), moved) < 1e-5


@pytest.mark.shows("adapter_name_or_path", "create_new_adapter", "adapter_folder")
def test_several_adapters_are_merged_and_the_last_goes_on(tiny: Path, tmp_path: Path) -> None:
    first = load(tiny, lora_rank=2)
    shake(first)
    first.save_pretrained(tmp_path / "one" / "inside")
    second = load(tiny, adapter_name_or_path=str(tmp_path / "one"), adapter_folder="inside", create_new_adapter=True)
    assert second.peft_config["default"].r == 8, "a fresh one"
    assert apart(answers(second), answers(first)) < 1e-4, "over the merged one"
    shaken = shake(second)
    second.save_pretrained(tmp_path / "two")
    (tmp_path / "both").mkdir()
    first.save_pretrained(tmp_path / "both" / "one")
    both = [str(tmp_path / "both" / "one"), str(tmp_path / "two")]
    again = load(tiny, adapter_name_or_path=both)
    assert apart(answers(again), shaken) < 1e-4
    assert again.peft_config["default"].r == 8, "the second"
    assert moving(again) == moving(second)
    merged = load(tiny, adapter_name_or_path=both, create_new_adapter=True, lora_rank=3)
    assert apart(answers(merged), shaken) < 1e-4, "both merged, the fresh one adds nothing yet"
    assert merged.peft_config["default"].r == 3


def test_an_adapter_brings_its_own_shape(tiny: Path, tmp_path: Path) -> None:
    load(tiny, lora_rank=2).save_pretrained(tmp_path / "a")
    load(tiny, adapter_name_or_path=str(tmp_path / "a"), lora_rank=2)
    with pytest.raises(RunError, match=r"lora_rank: 4, but the adapter in .* was begun with 2; leave it out"):
        load(tiny, adapter_name_or_path=str(tmp_path / "a"), lora_rank=4)
    with pytest.raises(ModelNotFound, match=r"there is no adapter in .* \(adapter_config.json is missing"):
        load(tiny, adapter_name_or_path=str(tmp_path))


@pytest.mark.shows("pissa_init", "pissa_iter", "pissa_convert")
@pytest.mark.parametrize("keys", [{"pissa_iter": 2}, {"pissa_iter": -1, "use_rslora": True}], ids=str)
def test_pissa_changes_nothing_at_first_and_becomes_plain(tiny: Path, tmp_path: Path, keys: dict[str, Any]) -> None:
    loaded = load(tiny, pissa_init=True, pissa_convert=True, lora_rank=4, additional_target="norm", **keys)
    assert apart(answers(loaded), answers(base(tiny))) < 1e-4
    plain = load(tiny, lora_rank=4)
    assert not any(p.abs().max() > 0 for name, p in plain.named_parameters() if "lora_B" in name)
    assert all(p.abs().max() > 0 for name, p in loaded.named_parameters() if "lora_B" in name)
    loaded.save_pretrained(tmp_path / pissa.INITIAL)
    moved = shake(loaded)
    loaded.save_pretrained(tmp_path)
    pissa.convert(tmp_path)
    for folder in (tmp_path, tmp_path / pissa.CONVERTED):
        assert json.loads((folder / "adapter_config.json").read_text())["r"] == 8
        assert apart(answers(PeftModel.from_pretrained(base(tiny), folder)), moved) < 1e-4
    again = load(tiny, pissa_init=True, pissa_convert=True, lora_rank=4, additional_target="norm", **keys)
    up = "base_model.model.model.layers.0.mlp.up_proj.base_layer.weight"
    assert apart(loaded.state_dict()[up], again.state_dict()[up]) == 0, "a resumed run's base is the same"


def test_a_pissa_adapter_without_its_base_is_refused(tiny: Path, tmp_path: Path) -> None:
    load(tiny, pissa_init=True, pissa_convert=True, pissa_iter=2).save_pretrained(tmp_path)
    with pytest.raises(RunError, match="take the plain adapter in pissa_converted"):
        load(tiny, adapter_name_or_path=str(tmp_path))


@pytest.mark.shows("train_from_scratch")
def test_weights_can_begin_at_random(tiny: Path) -> None:
    scratch = load(tiny, finetuning_type="full", train_from_scratch=True)
    again = load(tiny, finetuning_type="full", train_from_scratch=True)
    assert apart(answers(scratch), answers(base(tiny))) > 0.1
    assert apart(answers(scratch), answers(again)) == 0, "by the seed"


@pytest.mark.parametrize(
    ("keys", "dtype"),
    [({"bf16": True}, torch.float32), ({"pure_bf16": True}, torch.bfloat16)],
    ids=str,
)
def test_what_moves_is_float32_unless_pure(tiny: Path, keys: dict[str, Any], dtype: torch.dtype) -> None:
    loaded = load(tiny, finetuning_type="freeze", freeze_trainable_layers=1, **keys)
    types = {weight.requires_grad: weight.dtype for weight in loaded.parameters()}
    assert types == {True: dtype, False: torch.bfloat16}


@pytest.mark.parametrize(
    ("keys", "dtype"),
    [
        ({"bf16": True}, torch.bfloat16),
        ({}, torch.float32),
        ({"bf16": True, "finetuning_type": "oft", "oft_block_size": 8}, torch.float32),
    ],
    ids=str,
)
def test_adapters_under_zero3(tiny: Path, keys: dict[str, Any], dtype: torch.dtype) -> None:
    """DeepSpeed keeps float32 copies of them, and computes without autocast."""
    loaded = load(tiny, **keys)
    precision.settle_trainable(cfg(tiny, **keys), loaded, sharded=True)
    assert {weight.dtype for weight in loaded.parameters() if weight.requires_grad} == {dtype}


def test_adapters_over_quantised_weights_are_float32_under_zero3(tiny: Path) -> None:
    asked = cfg(tiny, bf16=True, quantization_bit=4)
    assert precision.trained_dtype(asked, sharded=True) is torch.float32
