"""Schedules as transformers draws them from our keys, LoRA+'s groups, and what this machine has not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments, get_scheduler

from finetune_trainer import optimisers
from finetune_trainer.config import parse
from finetune_trainer.failures import RunError
from finetune_trainer.optimisers import loraplus, schedule


def arguments(folder: Path, **said: Any) -> TrainingArguments:
    return TrainingArguments(output_dir=str(folder), use_cpu=True, report_to="none", **said)


def course(kind: str, kwargs: dict[str, Any] | None = None, *, steps: int = 12, warmup: int = 3) -> list[float]:
    """The learning rate of each step."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    given = schedule.arguments(kind, kwargs, steps=steps, warmup=warmup)
    rates = get_scheduler(kind, optimiser, warmup, steps, scheduler_specific_kwargs=given)
    drawn = []
    for _ in range(steps):
        drawn.append(float(optimiser.param_groups[0]["lr"]))
        optimiser.step()
        rates.step()
    return drawn


@pytest.mark.shows("lr_scheduler_type", "lr_scheduler_kwargs")
def test_warmup_stable_decay_is_filled_as_llamafactory_does() -> None:
    """3 steps up, a third of the other 9 level, 6 down."""
    rates = course("warmup_stable_decay")
    assert rates[:3] == pytest.approx([0, 1 / 3, 2 / 3])
    assert rates[3:7] == [1.0] * 4
    assert rates[7:] == sorted(rates[7:], reverse=True)
    assert rates[-1] < 0.1
    longer = course("warmup_stable_decay", {"num_stable_steps": 7, "num_decay_steps": 2, "min_lr_ratio": 0.5})
    assert longer[3:11] == [1.0] * 8
    assert longer[-1] == pytest.approx(0.75)


@pytest.mark.shows("lr_scheduler_type", "lr_scheduler_kwargs")
@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        ("linear", None),
        ("cosine", {"num_cycles": 1.5}),
        ("cosine_with_restarts", {"num_cycles": 3}),
        ("polynomial", {"power": 2.0}),
        ("inverse_sqrt", {"timescale": 2}),
        ("cosine_with_min_lr", {"min_lr_rate": 0.5}),
        ("cosine_warmup_with_min_lr", {"min_lr_rate": 0.5, "warmup_lr_rate": 0.5}),
        ("constant_with_warmup", None),
        ("constant", None),
    ],
)
def test_courses(kind: str, kwargs: dict[str, Any] | None) -> None:
    least = {"min_lr_rate": 0.1} if "min_lr" in kind else None
    assert parse({"lr_scheduler_type": kind, "lr_scheduler_kwargs": kwargs}).training.lr_scheduler_type == kind
    if kwargs:
        assert course(kind, kwargs) != course(kind, least)
    if kind != "linear":
        assert course(kind, least) != course("linear")


@pytest.mark.shows("loraplus_lr_ratio", "loraplus_lr_embedding", "weight_decay")
def test_lora_plus_groups(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4
    )
    model = get_peft_model(LlamaForCausalLM(config), LoraConfig(r=2, target_modules=["q_proj", "embed_tokens"]))
    args = arguments(tmp_path, learning_rate=1e-3, weight_decay=0.1)
    a, b, plain, embedding = loraplus.groups(model, args, ratio=16.0, embedding_rate=1e-6)
    assert [(group["lr"], group["weight_decay"]) for group in (a, b, plain, embedding)] == [
        (1e-3, 0.1),
        (0.016, 0.1),
        (0.016, 0.0),
        (1e-6, 0.1),
    ]
    assert [tuple(value.shape) for value in a["params"]] == [(2, 64), (2, 32)]
    assert [tuple(value.shape) for value in b["params"]] == [(32, 2)]
    assert plain["params"] == []
    assert [tuple(value.shape) for value in embedding["params"]] == [(32, 2)]
    cfg = parse({"loraplus_lr_ratio": 16, "optim": "sgd"})
    made = optimisers.build(cfg, arguments(tmp_path, optim="sgd", learning_rate=1e-3), model)
    assert isinstance(made, torch.optim.SGD)


@pytest.mark.shows("optim")
@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"optim": "adamw_torch_xla"}, "needs torch_xla, for TPUs, which we do not support"),
        ({"optim": "adamw_torch_npu_fused"}, "needs torch_npu, for Ascend"),
        ({"optim": "adamw_anyprecision"}, "needs the package torchdistx, which is not installed"),
        ({"optim": "adalomo"}, "optim: adalomo needs an NVIDIA GPU"),
        ({"optim": "paged_ademamix_8bit"}, "needs an NVIDIA GPU"),
        (
            {"optim": "adamw_8bit", "use_galore": True, "finetuning_type": "full"},
            "use_galore with optim: adamw_8bit needs an NVIDIA GPU",
        ),
    ],
)
def test_what_is_not_here_is_said_before_a_model_loads(said: dict[str, Any], message: str, tmp_path: Path) -> None:
    if torch.cuda.is_available() and "GPU" in message:
        pytest.skip("there is a GPU")
    with pytest.raises(RunError, match=message):
        optimisers.check(parse(said), arguments(tmp_path))


@pytest.mark.parametrize(
    "optim", ["adamw_torch_fused", "lion_8bit", "grokadamw", "schedule_free_radam", "stable_adamw"]
)
def test_what_is_here_is_let_through(optim: str, tmp_path: Path) -> None:
    optimisers.check(parse({"optim": optim}), arguments(tmp_path))


def test_schedule_free_saves_the_mean() -> None:
    from schedulefree import AdamWScheduleFree  # type: ignore[import-untyped]

    from finetune_trainer.optimisers.averaged import SavesTheMean

    (callback,) = optimisers.callbacks(parse({"optim": "schedule_free_adamw"}))
    assert isinstance(callback, SavesTheMean)
    weight = torch.nn.Parameter(torch.ones(2))
    optimiser = AdamWScheduleFree([weight], lr=0.5)
    optimiser.train()
    for _ in range(3):
        weight.grad = torch.ones(2)
        optimiser.step()
    moving = weight.detach().clone()
    callback.on_train_end(None, None, None, optimizer=optimiser)  # type: ignore[arg-type]
    assert not torch.equal(weight, moving)
    assert optimisers.callbacks(parse({"optim": "sgd"})) == []
