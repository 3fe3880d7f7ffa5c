"""QLoRA by our own entry point: the loss falls, splits agree, evaluations do no harm, the adapter stands alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.training.runs import Workspace
from tests.training.splits import assert_falls, assert_same, train_split, train_whole

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

NF4: dict[str, Any] = {
    "finetuning_type": "lora",
    "quantization_bit": 4,
    "learning_rate": 2.0e-2,
    "max_steps": 20,
    "save_steps": 20,
}
ONE = {**NF4, "max_steps": 8, "save_strategy": "no"}
EVALUATED = {"val_size": 8, "eval_strategy": "steps", "eval_steps": 2}
OTHERS: dict[str, dict[str, Any]] = {
    "evaluated": {**ONE, **EVALUATED},
    "unevaluated": {**ONE, "val_size": 8},
    "int8": {**ONE, "quantization_bit": 8},
    "hqq": {**ONE, "quantization_method": "hqq"},
    "plain": {**ONE, "quantization_bit": None, "max_steps": 1},
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace.make(tmp_path_factory.mktemp("quantised"))
    train_whole(made, "nf4", NF4)
    made.run(*(made.config(name, changes) for name, changes in OTHERS.items()))
    return made


@pytest.mark.shows("quantization_bit")
def test_the_loss_falls_and_is_not_the_unquantised_models(workspace: Workspace) -> None:
    assert_falls(workspace, "nf4", to=0.8)
    first = {name: workspace.losses(name)[1] for name in ("int8", "hqq", "plain")}
    first["nf4"] = workspace.losses("nf4-8x1")[1]
    assert len(set(first.values())) == 4
    assert all(abs(loss - first["plain"]) < 0.1 for loss in first.values())
    for name in ("int8", "hqq"):
        losses = workspace.losses(name)
        assert losses[8] < losses[1], name


@pytest.mark.parametrize("split", ["1x8", "ddp"])
def test_splits_agree(workspace: Workspace, split: str) -> None:
    train_split(workspace, "nf4", split, NF4)
    assert_same(workspace, "nf4", split)


def test_evaluations_do_no_harm(workspace: Workspace) -> None:
    """Without `bitsandbytes.forbid_packing` the losses part after the first one."""
    assert workspace.losses("evaluated") == workspace.losses("unevaluated")
    assert workspace.gradient_norms("evaluated") == workspace.gradient_norms("unevaluated")


def test_the_adapter_is_saved_alone_and_fits_the_unquantised_model(workspace: Workspace) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    saved = workspace.output("nf4-8x1")
    assert not list(saved.glob("model*.safetensors"))
    assert json.loads((saved / "adapter_config.json").read_text())["r"] == 8
    base = AutoModelForCausalLM.from_pretrained(workspace.folder / "model")
    adapted = PeftModel.from_pretrained(base, str(saved))
    ours = {name for name, _ in adapted.named_parameters() if "lora_" in name}
    assert len(ours) == 28
    assert Path(saved / "adapter_model.safetensors").stat().st_size > 0
    assert any(weight.abs().sum() > 0 for name, weight in adapted.named_parameters() if "lora_B" in name)
