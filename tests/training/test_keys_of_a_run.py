"""Keys that any run has: two runs that differ in one of them alone differ in what it is for. All in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.training.runs import Workspace

pytestmark = [pytest.mark.train, pytest.mark.timeout(900)]

BASE = {"max_steps": 5, "save_strategy": "no", "warmup_ratio": 0.0, "lr_scheduler_type": "constant"}
ADAM = {"adam_beta1": 0.5, "adam_beta2": 0.5, "adam_epsilon": 1.0}
EVALUATED = {"val_size": 8, "do_eval": True}
LOADED = {"dataloader_num_workers": 2, "max_steps": 8, "disable_gradient_checkpointing": True}  # nothing is tried
SAVED = {"save_strategy": "steps", "save_steps": 2, "disable_shuffling": True, "learning_rate": 0.0}
RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "epoch": {"max_steps": -1, "num_train_epochs": 1.0},
    "epochs": {"max_steps": -1, "num_train_epochs": 2.0},
    "by-epoch": {"max_steps": -1, "num_train_epochs": 2.0, "logging_strategy": "epoch"},
    "data_seed": {"data_seed": 1},
    "warmup_ratio": {"lr_scheduler_type": "constant_with_warmup", "warmup_ratio": 0.4},
    "warmup_steps": {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 4},
    "adafactor": {"adafactor": True},
    **{name: {name: value} for name, value in ADAM.items()},
    "sgd": {"optim": "sgd"},
    "max_grad_norm": {"optim": "sgd", "max_grad_norm": 0.01},
    "bf16": {"bf16": True},
    "evaluated": EVALUATED,
    "evaluated-bf16": {**EVALUATED, "bf16_full_eval": True},
    "evaluated-fp16": {**EVALUATED, "fp16_full_eval": True},
    "saved": SAVED,
    "saved-model": {**SAVED, "save_only_model": True},
    "workers": LOADED,
    "workers-stay": {**LOADED, "dataloader_persistent_workers": True},
    "workers-spawned": {**LOADED, "dataloader_multiprocessing_context": "spawn", "max_steps": 1},
    "workers-ahead": {**LOADED, "dataloader_prefetch_factor": 1},
    "deterministic": {"full_determinism": True},  # stays on in the process
}
SKIPPING = {"goes-on": {**SAVED}, "begins-anew": {**SAVED, "ignore_data_skip": True}}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """All runs; then two that go on from the checkpoint at step 2 of another."""
    made = Workspace.make(tmp_path_factory.mktemp("keys"), rows=40)
    observe(made, RUNS)
    for name in SKIPPING:
        made.leave_checkpoint(name, of="saved", step=2)
    observe(made, SKIPPING)
    return made


def observe(workspace: Workspace, runs: dict[str, dict[str, Any]]) -> None:
    """Run them in one process, which writes down what torch tells."""
    configs = [workspace.config(name, {**BASE, **changes}) for name, changes in runs.items()]
    done = subprocess.run(
        [sys.executable, Path(__file__).parent / "observed_rank.py", workspace.folder, *configs],
        env={**os.environ, **workspace.environment()}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (workspace.folder / "said").write_text(done.stderr, encoding="utf-8")


def seen(workspace: Workspace, name: str) -> dict[str, Any]:
    """What torch told of a run."""
    told: dict[str, Any] = json.loads((workspace.folder / f"{name}-0.json").read_text(encoding="utf-8"))
    assert told["code"] == 0
    return told


def rates(workspace: Workspace, name: str) -> list[float]:
    lines = (workspace.output(name) / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry["lr"] for entry in map(json.loads, lines) if "lr" in entry]


def results(workspace: Workspace, name: str) -> dict[str, float]:
    found: dict[str, float] = json.loads((workspace.output(name) / "all_results.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.shows("num_train_epochs", "output_dir")
def test_epochs_are_passes_over_the_rows(workspace: Workspace) -> None:
    assert sorted(workspace.losses("epoch")) == list(range(1, 6))
    assert sorted(workspace.losses("epochs")) == list(range(1, 11))
    assert (workspace.output("epoch") / "model.safetensors").exists(), "each in a folder of its own"


@pytest.mark.shows("logging_strategy")
def test_losses_by_epoch(workspace: Workspace) -> None:
    assert sorted(workspace.losses("by-epoch")) == [5, 10]


@pytest.mark.shows("data_seed")
def test_another_order_of_rows(workspace: Workspace) -> None:
    assert abs(workspace.losses("data_seed")[1] - workspace.losses("plain")[1]) > 1e-3


@pytest.mark.shows("warmup_ratio", "warmup_steps")
def test_the_rate_rises(workspace: Workspace) -> None:
    top = rates(workspace, "plain")[0]
    assert rates(workspace, "plain") == [top] * 5
    assert rates(workspace, "warmup_ratio") == pytest.approx([0, top / 2, top, top, top])
    assert rates(workspace, "warmup_steps") == pytest.approx([0, top / 4, top / 2, top * 3 / 4, top])


@pytest.mark.shows("adafactor", "adam_beta1", "adam_beta2", "adam_epsilon")
@pytest.mark.parametrize("name", ["adafactor", *ADAM])
def test_the_first_loss_is_the_same_and_later_ones_are_not(workspace: Workspace, name: str) -> None:
    losses, plain = workspace.losses(name), workspace.losses("plain")
    assert losses[1] == plain[1]
    assert abs(losses[5] - plain[5]) > 1e-3


@pytest.mark.shows("max_grad_norm")
def test_long_gradients_are_shortened(workspace: Workspace) -> None:
    moved = {name: abs(workspace.losses(name)[5] - workspace.losses("plain")[1]) for name in ("sgd", "max_grad_norm")}
    assert workspace.gradient_norms("sgd")[1] > 0.1
    assert workspace.losses("max_grad_norm")[5] != workspace.losses("sgd")[5], moved


@pytest.mark.shows("bf16")
def test_products_in_half_precision(workspace: Workspace) -> None:
    assert seen(workspace, "bf16")["dtypes"]["train"] == ["torch.bfloat16"]
    assert seen(workspace, "plain")["dtypes"]["train"] == ["torch.float32"]
    assert 1e-5 < abs(workspace.losses("bf16")[1] - workspace.losses("plain")[1]) < 0.05


@pytest.mark.shows("bf16_full_eval", "fp16_full_eval")
@pytest.mark.parametrize("kind", ["bf16", "fp16"])
def test_evaluated_in_half_precision(workspace: Workspace, kind: str) -> None:
    half, whole = (results(workspace, name)["eval_loss"] for name in (f"evaluated-{kind}", "evaluated"))
    assert 0 < abs(half - whole) < 0.05
    assert workspace.losses(f"evaluated-{kind}") == workspace.losses("evaluated"), "training is as before"


@pytest.mark.shows("save_steps", "save_only_model")
def test_checkpoints_and_what_is_in_them(workspace: Workspace) -> None:
    found = {path.name for path in workspace.output("saved").glob("checkpoint-*")}
    assert {"checkpoint-2", "checkpoint-4"} <= found
    for name, resumable in (("saved", True), ("saved-model", False)):
        assert (workspace.output(name) / "checkpoint-2" / "optimizer.pt").exists() is resumable
        assert (workspace.output(name) / "checkpoint-2" / "model.safetensors").exists()


@pytest.mark.shows("ignore_data_skip")
def test_resumed_with_the_first_rows_instead_of_the_next(workspace: Workspace) -> None:
    """At a rate of 0 a loss tells which rows were learned."""
    whole = workspace.losses("saved")
    assert workspace.losses("goes-on")[3] == pytest.approx(whole[3], abs=1e-6)
    assert workspace.losses("begins-anew")[3] == pytest.approx(whole[1], abs=1e-6)
    assert abs(whole[1] - whole[3]) > 1e-3


@pytest.mark.shows("dataloader_num_workers", "dataloader_persistent_workers")
def test_processes_that_load_rows(workspace: Workspace) -> None:
    """Eight steps are two epochs of five: without the key their processes are others in the second one."""
    assert seen(workspace, "plain")["children"][0] == []
    for name, stay in (("workers", False), ("workers-stay", True)):
        children = seen(workspace, name)["children"]
        first, last = ({pid for _, pid in at} for at in (children[0], children[-1]))
        assert len(first) == 2
        assert (first == last) is stay


@pytest.mark.shows("dataloader_multiprocessing_context", "dataloader_prefetch_factor")
def test_how_they_start_and_how_far_ahead_they_load(workspace: Workspace) -> None:
    assert {kind for kind, _ in seen(workspace, "workers")["children"][0]} == {"Process"}, "forked"
    assert {kind for kind, _ in seen(workspace, "workers-spawned")["children"][0]} == {"SpawnProcess"}
    assert max(seen(workspace, "workers-ahead")["ahead"]) < max(seen(workspace, "workers")["ahead"])


@pytest.mark.shows("dataloader_pin_memory")
def test_pinning_without_a_gpu_is_left_out_without_a_warning(workspace: Workspace) -> None:
    """On a GPU it hands rows over in pinned memory; here torch would warn with every epoch."""
    assert "pin_memory" not in (workspace.folder / "said").read_text(encoding="utf-8")


@pytest.mark.shows("full_determinism")
def test_kernels_are_deterministic(workspace: Workspace) -> None:
    assert seen(workspace, "deterministic")["deterministic"] is True
    assert seen(workspace, "plain")["deterministic"] is False
