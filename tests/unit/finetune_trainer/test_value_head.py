"""The value head: where its weights come from, what it computes, and what it leaves as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tests.tiny_model import make_tiny_model
from transformers import AutoModelForCausalLM

from finetune_trainer.config.model import ModelGroup
from finetune_trainer.failures import RunError
from finetune_trainer.model import value_head

IDS = torch.tensor([[5, 6, 7, 8]])
WEIGHTS = {
    "v_head.summary.weight": torch.linspace(-1, 1, 64)[None],
    "v_head.summary.bias": torch.tensor([0.25]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model."""
    return make_tiny_model(tmp_path_factory.mktemp("valued") / "model", tied=False)


def load(folder: Path) -> Any:
    """The model, not trained."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def group(folder: Path, *adapters: Path) -> ModelGroup:
    """Where the model comes from."""
    return ModelGroup(model_name_or_path=str(folder), adapter_name_or_path=tuple(map(str, adapters)))


def test_values_are_read_off_the_last_hidden_state(folder: Path, tmp_path: Path) -> None:
    model = load(folder)
    value_head.save(WEIGHTS, tmp_path)
    value_head.attach(model, group(folder, tmp_path))
    output = model(IDS, output_hidden_states=True)
    expected = output.hidden_states[-1] @ WEIGHTS["v_head.summary.weight"][0] + 0.25
    torch.testing.assert_close(output["value"], expected)
    assert "value" not in model(IDS), "whoever does not ask for hidden states pays nothing"


def test_the_last_adapters_head_counts_and_not_the_models(folder: Path, tmp_path: Path) -> None:
    for name, scale in (("model", 1.0), ("first", 2.0), ("last", 3.0)):
        (tmp_path / name).mkdir()
        value_head.save({key: scale * value for key, value in WEIGHTS.items()}, tmp_path / name)
    model = load(folder)
    value_head.attach(model, group(tmp_path / "model", tmp_path / "first", tmp_path / "last"))
    assert model.v_head.summary.bias.item() == pytest.approx(0.75)


def test_without_a_file_it_begins_as_trl_does(folder: Path) -> None:
    torch.manual_seed(3)
    model = load(folder)
    torch.manual_seed(3)
    value_head.attach(model, group(folder))
    torch.manual_seed(3)
    like_trl = torch.nn.Linear(64, 1)
    assert torch.equal(model.v_head.summary.weight, like_trl.weight)
    assert torch.equal(model.v_head.summary.bias, like_trl.bias)
    assert model.v_head.dropout.p == pytest.approx(0.1)
    model.train()
    once, again = (model(IDS, output_hidden_states=True)["value"] for _ in range(2))
    assert not torch.equal(once, again), "in training it drops out"


def test_a_models_own_dropout_counts(folder: Path) -> None:
    model = load(folder)
    model.config.summary_dropout_prob = 0.0
    value_head.attach(model, group(folder))
    assert model.v_head.dropout.p == 0.0


@pytest.mark.parametrize("sharded", [False, True])
def test_a_head_that_trl_saved_among_the_weights(folder: Path, tmp_path: Path, *, sharded: bool) -> None:
    name = "model-00001-of-00002.safetensors" if sharded else "model.safetensors"
    save_file({**WEIGHTS, "lm_head.weight": torch.zeros(2, 2)}, tmp_path / name)
    if sharded:
        index = {"weight_map": dict.fromkeys(WEIGHTS, name)}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    model = load(folder)
    value_head.attach(model, group(tmp_path))
    assert torch.equal(model.v_head.summary.weight, WEIGHTS["v_head.summary.weight"])


def test_llamafactorys_old_file(folder: Path, tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "value_head.bin")
    assert value_head.stored(str(tmp_path), group(folder)) is not None


def test_a_model_without_a_head_has_none(folder: Path) -> None:
    assert value_head.stored(str(folder), group(folder)) is None


def test_another_models_head_is_refused(folder: Path, tmp_path: Path) -> None:
    value_head.save({**WEIGHTS, "v_head.summary.weight": torch.zeros(1, 32)}, tmp_path)
    with pytest.raises(RunError, match=r"is 32 wide, the model 64: it is another model's"):
        value_head.attach(load(folder), group(tmp_path))


def test_a_checkpoint_without_a_head_is_refused(folder: Path, tmp_path: Path) -> None:
    model = load(folder)
    value_head.attach(model, group(folder))
    with pytest.raises(RunError, match=r"has no value_head\.safetensors"):
        value_head.load(model, tmp_path)


def test_saved_and_loaded_again(folder: Path, tmp_path: Path) -> None:
    model, other = load(folder), load(folder)
    for one in (model, other):
        value_head.attach(one, group(folder))
    plain, head = value_head.split(model.state_dict())
    assert not any(name.startswith("v_head") for name in plain)
    value_head.save(head, tmp_path)
    assert sorted(load_file(tmp_path / "value_head.safetensors")) == ["v_head.summary.bias", "v_head.summary.weight"]
    value_head.load(other, tmp_path)
    expected, found = (one(IDS, output_hidden_states=True)["value"] for one in (model, other))
    assert torch.equal(expected, found)


def test_values_stay_float32_under_autocast(folder: Path, tmp_path: Path) -> None:
    value_head.save(WEIGHTS, tmp_path)
    head = value_head.ValueHead(64, 0.0)
    head.load_state_dict({name.removeprefix("v_head."): value for name, value in WEIGHTS.items()})
    hidden = torch.randn(1, 1, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(hidden), head(hidden.float()))
        assert head(hidden).dtype is torch.float32


def test_an_adapter_trains_the_head_too(folder: Path) -> None:
    model: Any = get_peft_model(load(folder), LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"))
    value_head.attach(model, group(folder))
    model(IDS, output_hidden_states=True)["value"].sum().backward()
    learned = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert {"v_head.summary.weight", "v_head.summary.bias"} <= learned
    assert any("lora_A" in name for name in learned)


def test_logits_that_nobody_wants_are_computed_for_one_token(folder: Path) -> None:
    model = load(folder)
    value_head.attach(model, group(folder))
    output = model(IDS, **value_head.values_only(model))
    assert output.logits.shape[1] == 1
    assert output["value"].shape == (1, 4)


@pytest.mark.parametrize("tied", [False, True])
def test_the_output_layer_stands_still_unless_it_is_the_embedding(tmp_path: Path, *, tied: bool) -> None:
    model = load(make_tiny_model(tmp_path, tied=tied))
    value_head.freeze_output_layer(model)
    assert model.lm_head.weight.requires_grad is tied
    assert model.model.embed_tokens.weight.requires_grad
