"""Reward modelling: the same steps in every split, a rising accuracy, and a head that is found again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tests.tiny_model import make_tiny_model
from tests.training import preference_rows
from tests.training.runs import Workspace
from tests.training.splits import EVERY_SPLIT, assert_falls, assert_same, train_split, train_whole
from transformers import AutoModelForCausalLM

from finetune_trainer import config, data
from finetune_trainer.collate import PairCollator
from finetune_trainer.losses import reward
from finetune_trainer.model import load_tokenizer, value_head

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

ROWS = 90  # 12 steps in an epoch, the last one of 2 pairs
FULL: dict[str, Any] = {"stage": "rm", "learning_rate": 1.0e-3, "disable_gradient_checkpointing": True}
LORA: dict[str, Any] = {"stage": "rm", "finetuning_type": "lora", "lora_rank": 8, "learning_rate": 5.0e-3}
JUDGED: dict[str, Any] = {
    "val_size": 30,
    "do_eval": True,
    "eval_strategy": "steps",
    "eval_steps": 4,
    "save_steps": 4,
    "max_steps": 8,
    "load_best_model_at_end": True,
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A model whose output layer is its own, so that nothing but logits depends on it, and pairs; runs on one rank."""
    folder = tmp_path_factory.mktemp("rm")
    no_dropout(make_tiny_model(folder / "model", tied=False))
    preference_rows.write(folder / "data", preference_rows.pairs(ROWS))
    workspace = Workspace(folder=folder)
    train_whole(workspace, "rm", FULL)
    again = {"model_name_or_path": str(workspace.output("rm-8x1")), "max_steps": 1, "save_strategy": "no"}
    runs = {
        "rm-lora-8x1": LORA,
        "full": {**FULL, **JUDGED},
        "lora": {**LORA, **JUDGED},
        "again": {**FULL, **again},
    }
    workspace.run(*(workspace.config(name, changes) for name, changes in runs.items()))
    return workspace


def no_dropout(model: Path) -> None:
    """Splits can be compared only without; the head has some unless the model says this."""
    path = model / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "summary_dropout_prob": 0.0}), encoding="utf-8")


def told(workspace: Workspace, name: str, key: str) -> list[float]:
    """What a run has logged under a key, in order."""
    state = json.loads((workspace.output(name) / "trainer_state.json").read_text(encoding="utf-8"))
    return [entry[key] for entry in state["log_history"] if key in entry]


def results(workspace: Workspace, name: str) -> dict[str, float]:
    """eval_results.json, of the weights that the run has left."""
    found: dict[str, float] = json.loads((workspace.output(name) / "eval_results.json").read_text(encoding="utf-8"))
    return found


def judge(workspace: Workspace, name: str, model: Any, folder: Path) -> tuple[float, float]:
    """Loss and accuracy on the rows held out, of a model with the head that lies in a folder."""
    cfg = config.parse({**workspace.settings(name, {**FULL, **JUDGED}), "model_name_or_path": str(folder)})
    value_head.attach(model, cfg.model)
    held_out = data.build(cfg, load_tokenizer(cfg)).eval
    batch = PairCollator(pad_token_id=0)(list(held_out))
    with torch.no_grad():
        values = model(batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True)["value"]
    chosen, rejected = reward.last_values(values, batch["attention_mask"]).chunk(2)
    return float(reward.pair_losses(chosen, rejected).mean()), float((chosen > rejected).float().mean())


def plain(folder: Path) -> Any:
    """A folder as whoever knows nothing of value heads loads it; every weight is used, none is missing."""
    model, told = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not told["unexpected_keys"]
    assert not told["missing_keys"]
    return model.eval()


@pytest.mark.shows("stage")
def test_it_learns(workspace: Workspace) -> None:
    assert_falls(workspace, "rm", to=0.7)
    accuracy, margin = told(workspace, "rm-8x1", "accuracy"), told(workspace, "rm-8x1", "margin")
    assert sum(accuracy[-5:]) / 5 > 0.9 > sum(accuracy[:3]) / 3
    assert sum(margin[-5:]) / 5 > 1 > margin[0]


@pytest.mark.parametrize("split", EVERY_SPLIT)
def test_every_split_is_the_same_training(workspace: Workspace, split: str) -> None:
    train_split(workspace, "rm", split, FULL)
    assert_same(workspace, "rm", split)


@pytest.mark.slow  # a minute; dpo's adapter is split in every run of the tests
def test_an_adapter_on_two_ranks_and_resumed(workspace: Workspace) -> None:
    train_split(workspace, "rm-lora", "zero3", LORA)
    assert_same(workspace, "rm-lora", "zero3")
    train_split(workspace, "rm-lora", "resumed", LORA)
    assert_same(workspace, "rm-lora", "resumed")


def test_the_head_lies_beside_a_plain_model(workspace: Workspace) -> None:
    """The run took back its best checkpoint, head included, before it evaluated and saved."""
    output = workspace.output("full")
    state = json.loads((output / "trainer_state.json").read_text(encoding="utf-8"))
    best = Path(state["best_model_checkpoint"])
    told = results(workspace, "full")
    for folder in (output, best):
        loss, accuracy = judge(workspace, "full", plain(folder), folder)
        assert loss == pytest.approx(told["eval_loss"], abs=1e-5)
        assert accuracy == pytest.approx(told["eval_accuracy"])
    assert told["eval_loss"] == pytest.approx(state["best_metric"])


def test_the_head_lies_beside_an_adapter(workspace: Workspace) -> None:
    output, told = workspace.output("lora"), results(workspace, "lora")
    adapted = PeftModel.from_pretrained(plain(workspace.folder / "model"), output).eval()
    loss, accuracy = judge(workspace, "lora", adapted, output)
    assert loss == pytest.approx(told["eval_loss"], abs=1e-5)
    assert accuracy == pytest.approx(told["eval_accuracy"])
    assert not any("v_head" in name for name in load_file(output / "adapter_model.safetensors"))


def test_a_split_model_saves_the_same_head(workspace: Workspace) -> None:
    """Needs the runs above: gathered from two ranks it is that of one rank, and so is the rest."""
    for name in ("value_head.safetensors", "model.safetensors"):
        alone, sharded = (load_file(workspace.output(run) / name) for run in ("rm-8x1", "rm-zero3"))
        assert alone.keys() == sharded.keys()
        assert max((alone[key] - sharded[key]).abs().max().item() for key in alone) < 1e-3


def test_training_goes_on_with_the_head_that_is_there(workspace: Workspace) -> None:
    first, last = workspace.losses("rm-8x1")[1], workspace.losses("rm-8x1")[24]
    assert abs(workspace.losses("again")[1] - last) < abs(workspace.losses("again")[1] - first)
