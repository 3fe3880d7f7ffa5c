"""What fits, what would, and how long a run is."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.finetune_trainer.sizing.configs import LLAMA_7B, QWEN_14B, SEED_36B, architecture, cfg

from finetune_trainer.config import dump, parse
from finetune_trainer.sizing import Machine, estimate, fit, report, steps

GB = 10**9
_FULL = {"finetuning_type": "full", "bf16": True, "cutoff_len": 4096}


def nearest(config: dict[str, Any], on: Machine, **keys: Any) -> dict[str, Any]:
    """What is to be changed; and it is what fits, and what the rules between keys let by."""
    asked, model = cfg(**keys), architecture(config)
    assert not fit.fits(estimate(asked, model, on), on)
    plan = fit.nearest(asked, model, on)
    assert plan is not None
    new = parse({key: value for key, value in {**dump(asked), **plan.changes}.items() if value is not None})
    assert fit.fits(estimate(new, model, on), on)
    batches = [
        one.training.per_device_train_batch_size * one.training.gradient_accumulation_steps for one in (asked, new)
    ]
    assert batches[0] == batches[1]
    return dict(plan.changes)


def test_checkpointing_comes_first() -> None:
    on = Machine(processes=8, memory=80 * GB)
    keys = {**_FULL, "deepspeed": "zero3", "disable_gradient_checkpointing": True, "per_device_train_batch_size": 2}
    assert nearest(QWEN_14B, on, **keys) == {"disable_gradient_checkpointing": False}


def test_a_smaller_micro_batch_keeps_the_global_batch() -> None:
    on = Machine(processes=8, memory=80 * GB)
    keys = {**_FULL, "deepspeed": "zero3", "per_device_train_batch_size": 12, "gradient_accumulation_steps": 2}
    assert nearest(QWEN_14B, on, **keys) == {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 6}


def test_a_smaller_evaluation_comes_before_that() -> None:
    on = Machine(memory=60 * GB)
    keys = {"bf16": True, "cutoff_len": 4096, "val_size": 0.1, "eval_strategy": "steps"}
    assert nearest(QWEN_14B, on, **keys) == {"per_device_eval_batch_size": 1}


def test_weights_are_shared_before_they_stand_still() -> None:
    assert nearest(QWEN_14B, Machine(processes=8, memory=80 * GB), **_FULL)["deepspeed"] in ("zero2", "zero3")


def test_an_adapter_is_the_last_resort() -> None:
    short = {**_FULL, "cutoff_len": 512}
    assert nearest(LLAMA_7B, Machine(memory=24 * GB), **short) == {"deepspeed": "zero3_offload"}
    plans = [plan.changes for plan in fit.plans(cfg(**short), architecture(LLAMA_7B), Machine(memory=GB))]
    adapted = [changes.get("finetuning_type") == "lora" for changes in plans]
    quantised = [changes.get("quantization_bit") == 4 for changes in plans]
    assert adapted == sorted(adapted)
    assert quantised == sorted(quantised)
    assert any(quantised)


def test_where_nothing_fits_the_leanest_is_told() -> None:
    found = report(cfg(**_FULL), architecture(SEED_36B), Machine(memory=4 * GB))
    assert found.nearest is None
    assert found.leanest is not None
    assert found.leanest.estimate.total < found.estimate.total


def test_the_table_has_every_way_and_the_asked_micro_batch() -> None:
    on = Machine(processes=8, memory=80 * GB)
    cells = fit.table(cfg(**_FULL, per_device_train_batch_size=3), architecture(QWEN_14B), on)
    assert {cell.micro_batch for cell in cells} == {1, 2, 3, 4, 8, 16}
    assert {cell.way for cell in cells} == {"no ZeRO", "zero2", "zero3", "zero3_offload"}
    assert all(cell.fits is (cell.total <= 80 * GB) for cell in cells)
    assert any(cell.fits for cell in cells)
    assert not all(cell.fits for cell in cells)


def test_what_the_rules_refuse_is_not_in_the_table() -> None:
    cells = fit.table(
        cfg(finetuning_type="full", pure_bf16=True), architecture(LLAMA_7B), Machine(processes=2, memory=80 * GB)
    )
    assert {cell.way for cell in cells} == {"no ZeRO", "zero2"}


def test_nothing_is_said_of_what_fits_where_the_memory_is_unknown() -> None:
    found = report(cfg(**_FULL), architecture(LLAMA_7B), Machine())
    assert found.fits is None
    assert found.table == ()


def test_steps_tokens_and_disk() -> None:
    keys = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "num_train_epochs": 3.0}
    asked = cfg(**{**_FULL, **keys}, save_steps=10, save_total_limit=2, deepspeed="zero3")
    course = steps.of(asked, architecture(LLAMA_7B), Machine(nodes=4, processes=8), rows=1000)
    assert course.global_batch == 128
    assert course.tokens_per_step == 128 * 4096
    assert course.steps == 24  # 8 steps an epoch, the last of them smaller
    assert course.checkpoints == 2
    weights = 6_738_415_616
    assert course.model_bytes == 2 * weights
    assert course.checkpoint_bytes == pytest.approx((2 + 8 + 4 + 2) * weights)


def test_max_steps_need_no_rows() -> None:
    course = steps.of(cfg(**_FULL, max_steps=5), architecture(LLAMA_7B), Machine())
    assert course.steps == 5
    assert course.tokens == 5 * 4096


def test_an_adapters_checkpoint_is_small() -> None:
    asked = cfg(finetuning_type="lora", lora_rank=8, bf16=True, save_only_model=True)
    course = steps.of(asked, architecture(LLAMA_7B), Machine())
    assert course.checkpoint_bytes == course.model_bytes == 4 * 19_988_480
