"""Reference models: a model of its own, the base below an adapter, or a copy; frozen while the trained one trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from peft import LoraConfig, PeftModel, get_peft_model
from tests.tiny_model import make_tiny_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from finetune_trainer.config import TrainConfig, parse
from finetune_trainer.failures import ModelNotFound, RunError
from finetune_trainer.model import reference

IDS = torch.arange(5, 25)[None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two base models, and an adapter that has learned something."""
    folder = tmp_path_factory.mktemp("reference")
    make_tiny_model(folder / "base")
    make_tiny_model(folder / "other", seed=1)
    adapted(folder).save_pretrained(folder / "adapter")
    return folder


def base(folder: Path, name: str = "base") -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32)
    return model


def adapted(folder: Path) -> PeftModel:
    torch.manual_seed(0)
    settings = LoraConfig(target_modules=["q_proj", "up_proj"], lora_dropout=0.5, init_lora_weights=False)
    return get_peft_model(base(folder), settings)


def held(folder: Path, trained: PreTrainedModel | PeftModel, **keys: Any) -> torch.Tensor:
    """What the reference answers while the trained model is in training."""
    cfg = config(folder, **keys)
    asked = reference(cfg, AutoTokenizer.from_pretrained(folder / "base"), trained, device=torch.device("cpu"))
    asked.prepare(Accelerator(cpu=True))
    trained.train()
    with asked.frozen(trained) as frozen:
        assert not frozen.training
        logits: torch.Tensor = frozen(input_ids=IDS).logits
    assert trained.training
    assert not logits.requires_grad
    return logits


def config(folder: Path, **keys: Any) -> TrainConfig:
    return parse({"stage": "dpo", "model_name_or_path": str(folder / "base"), "use_cpu": True, **keys})


def logits(model: Callable[..., Any]) -> torch.Tensor:
    with torch.no_grad():
        told: torch.Tensor = model(input_ids=IDS).logits
    return told


def test_below_an_adapter_is_the_base(folder: Path) -> None:
    trained = adapted(folder)
    torch.testing.assert_close(held(folder, trained, finetuning_type="lora"), logits(base(folder)))
    assert all(weight.requires_grad for name, weight in trained.named_parameters() if "lora_" in name)


def test_pissa_needs_a_copy(folder: Path) -> None:
    """Its adapter holds a part of the base; LLaMA-Factory refuses it here."""
    trained = get_peft_model(base(folder), LoraConfig(target_modules=["q_proj"], init_lora_weights="pissa"))
    with torch.no_grad(), trained.disable_adapter():
        assert (logits(trained) - logits(base(folder))).abs().max() > 0.01
    answers = held(folder, trained, finetuning_type="lora", pissa_init=True, pissa_iter=-1)
    torch.testing.assert_close(answers, logits(base(folder)))


def test_all_weights_trained_need_a_copy(folder: Path) -> None:
    trained = base(folder)
    with torch.no_grad():
        for weight in trained.parameters():
            weight.mul_(0.5)
    torch.testing.assert_close(held(folder, trained, finetuning_type="full"), logits(base(folder)))


@pytest.mark.shows("ref_model")
def test_a_model_of_its_own(folder: Path) -> None:
    answers = held(folder, adapted(folder), finetuning_type="lora", ref_model=str(folder / "other"))
    torch.testing.assert_close(answers, logits(base(folder, "other")))


@pytest.mark.shows("ref_model_adapters")
def test_adapters_of_the_reference(folder: Path) -> None:
    keys = {"ref_model": str(folder / "base"), "ref_model_adapters": str(folder / "adapter")}
    answers = held(folder, base(folder), finetuning_type="full", **keys)
    torch.testing.assert_close(answers, logits(adapted(folder).eval()), atol=1e-5, rtol=1e-5)
    assert (answers - logits(base(folder))).abs().max() > 0.01


@pytest.mark.shows("ref_model_quantization_bit")
@pytest.mark.parametrize("method", ["bnb", "hqq"])
def test_a_quantised_reference(folder: Path, method: str) -> None:
    keys = {"ref_model": str(folder / "base"), "ref_model_quantization_bit": 4, "quantization_method": method}
    answers = held(folder, base(folder), finetuning_type="full", **keys)
    off = (answers - logits(base(folder))).abs().max()
    assert off > 1e-4, "as exact as if nothing had been quantised"
    assert torch.nn.functional.cosine_similarity(answers, logits(base(folder)), dim=-1).mean() > 0.9


def test_an_adapter_that_does_not_fit_is_named(folder: Path) -> None:
    config = AutoConfig.from_pretrained(folder / "base")
    config.intermediate_size *= 2
    wide = get_peft_model(AutoModelForCausalLM.from_config(config), LoraConfig(target_modules=["up_proj"]))
    wide.save_pretrained(folder / "wide")
    keys = {"ref_model": str(folder / "base"), "ref_model_adapters": str(folder / "wide")}
    with pytest.raises(RunError, match=r"ref_model_adapters: .*wide does not fit this model: size mismatch"):
        held(folder, base(folder), finetuning_type="full", **keys)


@pytest.mark.parametrize("key", ["ref_model", "ref_model_adapters"])
def test_what_is_not_there_is_named(folder: Path, key: str) -> None:
    keys = {"ref_model": str(folder / "base"), key: str(folder / "nowhere")}
    with pytest.raises(ModelNotFound, match=f"{key}: there is no folder"):
        held(folder, base(folder), finetuning_type="full", **keys)
