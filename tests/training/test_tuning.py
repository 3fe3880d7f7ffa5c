"""Each way to tune trains, moves what it should and nothing else, and is the same training when it is split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tests.training import splits
from tests.training.runs import Workspace
from tests.training.splits import assert_falls, assert_same
from transformers import AutoModelForCausalLM, AutoTokenizer

from finetune_trainer import config, model

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

IDS = torch.arange(24)[None]
SHORT = {
    "max_steps": 6,
    "save_steps": 100,
    "per_device_train_batch_size": 4,
    "disable_gradient_checkpointing": True,
    "finetuning_type": "lora",
    "learning_rate": 1.0e-2,
}
FULL_TYPES: dict[str, dict[str, Any]] = {
    "freeze": {"finetuning_type": "freeze", "freeze_trainable_layers": 1, "freeze_extra_modules": "norm"},
    "pro": {"finetuning_type": "freeze", "use_llama_pro": True, "freeze_trainable_layers": 1},
    "grown": {"finetuning_type": "full", "add_tokens": "river,stone", "learning_rate": 3.0e-3},
}
MOVED = {"freeze": ("model.layers.1.", "model.norm."), "pro": ("model.layers.1.",), "grown": ("model.",)}
ADAPTERS: dict[str, dict[str, Any]] = {
    "lora": {},
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True},
    "pissa": {"pissa_init": True, "pissa_iter": -1},
    "oft": {"finetuning_type": "oft", "oft_block_size": 16},
    "beside": {"additional_target": "model.norm,embed_tokens"},
    "tokens": {"add_special_tokens": "<|words|>", "add_tokens": "river,stone"},
    "pro-lora": {"use_llama_pro": True, "freeze_trainable_layers": 1},
}
SPLIT = {
    "dora": {"finetuning_type": "lora", "use_dora": True, "learning_rate": 1.0e-2, "max_steps": 20},
    "tokens": {"finetuning_type": "lora", "add_tokens": "river,stone", "learning_rate": 1.0e-2, "max_steps": 20},
    "grown": {"finetuning_type": "full", "add_tokens": "river,stone", "max_steps": 20},
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """All runs on one rank, one after the other in one process."""
    workspace = Workspace.make(tmp_path_factory.mktemp("tuning"))
    short = {**FULL_TYPES, **ADAPTERS}
    workspace.run(*(workspace.config(f"{name}-8x1", {**SHORT, **keys}) for name, keys in short.items()))
    begun = {**SHORT, "adapter_name_or_path": str(workspace.output("lora-8x1"))}
    workspace.run(
        workspace.config("again-8x1", begun),
        workspace.config("over-8x1", {**begun, "create_new_adapter": True, "lora_rank": 2}),
        *(workspace.config(f"split-{name}-8x1", keys) for name, keys in SPLIT.items()),
    )
    return workspace


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).named_parameters())


@pytest.mark.shows("finetuning_type", "use_llama_pro", "use_dora", "use_rslora", "pissa_init", "additional_target")
@pytest.mark.parametrize("name", [*FULL_TYPES, *ADAPTERS])
def test_the_loss_falls(workspace: Workspace, name: str) -> None:
    losses = workspace.losses(f"{name}-8x1")
    assert losses[5] + losses[6] < 0.98 * (losses[1] + losses[2])


@pytest.mark.shows("freeze_trainable_layers", "freeze_extra_modules")
@pytest.mark.parametrize("name", FULL_TYPES)
def test_nothing_else_has_moved(workspace: Workspace, name: str) -> None:
    before, after = weights(workspace.folder / "model"), weights(workspace.output(f"{name}-8x1"))
    rows = {key: len(value) for key, value in before.items()}
    moved = {key for key, value in after.items() if not torch.equal(value[: rows[key]], before[key])}
    assert moved == {key for key in before if key.startswith(MOVED[name])}
    assert (len(after["model.embed_tokens.weight"]) > rows["model.embed_tokens.weight"]) is (name == "grown")


@pytest.mark.parametrize("name", ADAPTERS)
def test_what_is_saved_answers_as_what_was_trained(workspace: Workspace, name: str) -> None:
    """Over the base as it came: another process that loads it gets the loss that the run went on with."""
    said = workspace.settings("x", {**SHORT, **ADAPTERS[name]})
    kept = {key: value for key, value in said.items() if not key.startswith("pissa")}  # the adapter has begun
    cfg = config.parse({**kept, "adapter_name_or_path": str(workspace.output(f"{name}-8x1"))})
    loaded: Any = model.load(cfg, model.load_tokenizer(cfg), device=torch.device("cpu"))
    base = AutoModelForCausalLM.from_pretrained(workspace.folder / "model", dtype=torch.float32)
    known = slice(0, base.config.vocab_size)
    with torch.no_grad():
        assert (loaded.eval()(IDS).logits[..., known] - base.eval()(IDS).logits).abs().max() > 1e-2
    moved = {key.split("default")[0] for key, weight in loaded.named_parameters() if weight.requires_grad}
    if name == "pro-lora":
        assert all(".layers.1." in key for key in moved)
    assert any("modules_to_save" in key for key in moved) is (name in ("beside", "tokens"))


@pytest.mark.shows("add_tokens", "add_special_tokens")
def test_model_and_tokenizer_agree(workspace: Workspace) -> None:
    for name in ("grown", "tokens"):
        tokenizer = AutoTokenizer.from_pretrained(workspace.output(f"{name}-8x1"))
        assert {"river", "stone"} <= tokenizer.get_vocab().keys()
    grown = AutoModelForCausalLM.from_pretrained(workspace.output("grown-8x1"))
    assert len(tokenizer) <= grown.config.vocab_size


@pytest.mark.shows("adapter_name_or_path", "create_new_adapter", "lora_rank")
def test_an_adapter_goes_on_or_is_followed(workspace: Workspace) -> None:
    first, again, over = (workspace.losses(f"{name}-8x1") for name in ("lora", "again", "over"))
    assert first[1] - again[1] > 0.05, "both begin where the first has ended"
    assert again[1] == pytest.approx(over[1], abs=1e-5)
    assert again[6] != over[6]
    ranks = [PeftModel.from_pretrained(base(workspace), workspace.output(f"{n}-8x1")) for n in ("again", "over")]
    assert [one.peft_config["default"].r for one in ranks] == [8, 2]  # type: ignore[attr-defined]


def base(workspace: Workspace) -> Any:
    return AutoModelForCausalLM.from_pretrained(workspace.folder / "model", dtype=torch.float32)


@pytest.mark.parametrize("name", SPLIT)
def test_zero3_is_the_same_training(workspace: Workspace, name: str) -> None:
    assert_falls(workspace, f"split-{name}")
    splits.train_split(workspace, f"split-{name}", "zero3", SPLIT[name])
    assert_same(workspace, f"split-{name}", "zero3")
    if name == "grown":
        alone, sharded = (weights(workspace.output(f"split-grown-{how}")) for how in ("8x1", "zero3"))
        assert max((alone[key] - sharded[key]).abs().max().item() for key in alone) < 1e-3
