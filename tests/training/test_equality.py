"""The same training, however a global batch is split: every step's loss equals a plain PyTorch loop's to 1e-4."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tests.training.runs import Workspace
from torch.nn import functional
from transformers import AutoModelForCausalLM, get_linear_schedule_with_warmup

from finetune_trainer import config, data, model

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

TOLERANCE = 1e-4
ONE_BY_EIGHT = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}
TWO_RANKS = {"per_device_train_batch_size": 4}
TWO_BY_TWO = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
SHORT = {"max_steps": 8, "save_steps": 5, "logging_steps": 2}
LORA = {"finetuning_type": "lora", "lora_rank": 8, "learning_rate": 1.0e-2}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One model and data set for all variants; the variants on one rank run here, in one process."""
    workspace = Workspace.make(tmp_path_factory.mktemp("equality"))
    short = workspace.config("short", SHORT)
    workspace.run(
        short,
        short,
        workspace.config("8x1", {}),
        workspace.config("1x8", ONE_BY_EIGHT),
        workspace.config("lora-8x1", LORA),
    )
    return workspace


@pytest.fixture(scope="module")
def reference(workspace: Workspace) -> dict[int, float]:
    """Losses of the plain loop."""
    return plain_loop(workspace.settings("plain", {}))


def plain_loop(settings: dict[str, Any]) -> dict[int, float]:
    """Fine-tuning as one would write it by hand; of our own code it uses only the rows, as ids and labels."""
    cfg = config.parse(settings)
    rows = data.build(cfg, model.load_tokenizer(cfg)).train
    lm = AutoModelForCausalLM.from_pretrained(settings["model_name_or_path"], dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(lm.parameters(), lr=settings["learning_rate"], weight_decay=0.0)
    epochs, batch = int(settings["num_train_epochs"]), settings["per_device_train_batch_size"]
    total = math.ceil(len(rows) / batch) * epochs
    schedule = get_linear_schedule_with_warmup(optimizer, math.ceil(total * settings["warmup_ratio"]), total)
    losses: dict[int, float] = {}
    for epoch in range(epochs):
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(settings["seed"] + epoch)).tolist()
        for start in range(0, len(rows), batch):
            chosen = [rows[index] for index in order[start : start + batch]]
            learned = sum(label != -100 for row in chosen for label in row["labels"][1:])
            loss = sum(row_loss(lm, row) for row in chosen) / learned
            loss.backward()
            torch.nn.utils.clip_grad_norm_(lm.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses[len(losses) + 1] = loss.item()
    return losses


def row_loss(lm: torch.nn.Module, row: Mapping[str, list[int]]) -> torch.Tensor:
    """Summed cross entropy of one row, alone and so without padding."""
    logits = lm(torch.tensor([row["input_ids"]])).logits[0, :-1]
    return functional.cross_entropy(logits, torch.tensor(row["labels"][1:]), ignore_index=-100, reduction="sum")


def assert_equal(losses: Mapping[int, float], expected: Mapping[int, float], *, first: int = 1) -> None:
    """Every step from `first` on, none missing, none drifting away."""
    steps = [step for step in expected if step >= first]
    assert [step for step in sorted(losses) if step >= first] == steps
    off = {step: losses[step] - expected[step] for step in steps}
    print(f"\nlargest difference {max(map(abs, off.values())):.2e} over {len(steps)} steps")
    assert max(map(abs, off.values())) < TOLERANCE, off
    assert abs(sum(off.values()) / len(off)) < TOLERANCE / 2, "a drift to one side"


def test_the_run_is_worth_comparing(workspace: Workspace, reference: dict[int, float]) -> None:
    cfg = config.parse(workspace.settings("8x1", {}))
    rows = data.build(cfg, model.load_tokenizer(cfg)).train
    learned = {sum(label != -100 for label in row["labels"]) for row in rows}
    assert len(reference) == 38
    assert len(learned) > 5, "rows of unequal numbers of learned tokens"
    assert reference[38] < 0.8 * reference[1]


def test_one_rank_one_batch(workspace: Workspace, reference: dict[int, float]) -> None:
    assert_equal(workspace.losses("8x1"), reference)


@pytest.mark.shows("per_device_train_batch_size", "gradient_accumulation_steps")
def test_accumulated_batches(workspace: Workspace, reference: dict[int, float]) -> None:
    assert_equal(workspace.losses("1x8"), reference)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("ddp", TWO_RANKS),
        ("zero2", {**TWO_RANKS, "deepspeed": "zero2"}),
        ("zero3", {**TWO_BY_TWO, "deepspeed": "zero3"}),
    ],
)
def test_two_ranks(workspace: Workspace, reference: dict[int, float], name: str, changes: dict[str, Any]) -> None:
    workspace.run(workspace.config(name, changes), ranks=2)
    assert_equal(workspace.losses(name), reference)


def test_resumed_in_the_middle_of_an_epoch(workspace: Workspace, reference: dict[int, float]) -> None:
    workspace.leave_checkpoint("resumed", of="8x1", step=10)
    workspace.run(workspace.config("resumed", {}))
    losses = workspace.losses("resumed")
    assert min(losses) == 11, "the first ten steps were not done again"
    assert_equal(losses, reference, first=11)


def test_started_again_when_it_has_ended_in_the_middle_of_an_epoch(workspace: Workspace) -> None:
    """The second run goes on from the last step's checkpoint: transformers alone would train a ninth step."""
    state = json.loads((workspace.output("short") / "trainer_state.json").read_text(encoding="utf-8"))
    results = json.loads((workspace.output("short") / "train_results.json").read_text(encoding="utf-8"))
    assert state["global_step"] == 8
    losses = workspace.losses("short")
    assert sorted(losses) == [2, 4, 6, 8]
    assert results["train_loss"] == pytest.approx(sum(losses.values()) / 4, abs=TOLERANCE)
    assert AutoModelForCausalLM.from_pretrained(workspace.output("short")) is not None


def test_a_resumed_runs_mean_loss_is_that_of_all_its_steps(workspace: Workspace, reference: dict[int, float]) -> None:
    results = json.loads((workspace.output("resumed") / "train_results.json").read_text(encoding="utf-8"))
    assert results["train_loss"] == pytest.approx(sum(reference.values()) / 38, abs=TOLERANCE)


def test_resumed_on_two_ranks_in_the_second_epoch(workspace: Workspace, reference: dict[int, float]) -> None:
    if not (workspace.output("zero3") / "checkpoint-30").exists():
        workspace.run(workspace.config("zero3", {**TWO_BY_TWO, "deepspeed": "zero3"}), ranks=2)
    workspace.leave_checkpoint("zero3-resumed", of="zero3", step=30)
    workspace.run(workspace.config("zero3-resumed", {**TWO_BY_TWO, "deepspeed": "zero3"}), ranks=2)
    assert_equal(workspace.losses("zero3-resumed"), reference, first=31)


def test_an_adapter_on_two_ranks(workspace: Workspace) -> None:
    workspace.run(workspace.config("lora-zero3", {**LORA, **TWO_RANKS, "deepspeed": "zero3"}), ranks=2)
    expected = workspace.losses("lora-8x1")
    assert expected[38] < 0.8 * expected[1]
    assert_equal(workspace.losses("lora-zero3"), expected)


def test_an_adapter_in_half_precision_on_two_ranks(workspace: Workspace) -> None:
    """Under ZeRO-3 its weights are bfloat16, and learn as those that are float32 under autocast."""
    keys = {**LORA, **TWO_RANKS, "bf16": True, "max_steps": 20, "save_strategy": "no"}
    for name, more in (("lora-half-ddp", {}), ("lora-half-zero3", {"deepspeed": "zero3"})):
        workspace.run(workspace.config(name, {**keys, **more}), ranks=2)
    expected, losses = workspace.losses("lora-half-ddp"), workspace.losses("lora-half-zero3")
    assert expected[20] < 0.8 * expected[1]
    assert losses == pytest.approx(expected, abs=5e-3)
    saved = load_file(workspace.output("lora-half-zero3") / "adapter_model.safetensors")
    assert {weight.dtype for weight in saved.values()} == {torch.bfloat16}


def test_what_a_sharded_run_saves_is_the_whole_model(workspace: Workspace) -> None:
    """Needs the runs above; weights gathered from two ranks are those of one rank, and the adapter fits the model."""
    alone, sharded = (
        AutoModelForCausalLM.from_pretrained(workspace.output(name), dtype=torch.float32) for name in ("8x1", "zero3")
    )
    pairs = zip(alone.parameters(), sharded.parameters(), strict=True)
    assert max((one - other).abs().max().item() for one, other in pairs) < 1e-3
    base = AutoModelForCausalLM.from_pretrained(workspace.folder / "model", dtype=torch.float32)
    adapted = PeftModel.from_pretrained(base, workspace.output("lora-zero3"))
    learned = [weight for name, weight in adapted.named_parameters() if "lora_B" in name]
    assert len(learned) == 14
    assert all(weight.abs().max().item() > 0 for weight in learned)
