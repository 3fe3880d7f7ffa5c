"""Optimisers of LLaMA-Factory's own keys in real runs: learning, resumed, the batch split."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.training.runs import Workspace
from tests.training.splits import TOLERANCE, TWO_RANKS

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

GALORE = {"use_galore": True, "galore_rank": 4}
APOLLO = {"use_apollo": True, "apollo_rank": 4}
BADAM = {"use_badam": True, "badam_switch_interval": 3, "badam_verbose": 1}
LORA = {"finetuning_type": "lora"}
RUNS: dict[str, dict[str, Any]] = {
    "adamw": {},
    "galore": GALORE,
    "galore-layers": {**GALORE, "galore_layerwise": True},
    "apollo": APOLLO,
    "badam": BADAM,
    "adam-mini": {"use_adam_mini": True},
    "muon": {"use_muon": True},
    "lora": LORA,
    "loraplus": {**LORA, "loraplus_lr_ratio": 16},
}
RESUMED = ("galore-layers", "apollo", "badam", "muon")
SPLIT = ("galore", "adam-mini", "muon")
ALONE = ("badam",)
ACCUMULATED = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
COMMON = {"save_steps": 4, "max_steps": 8}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """All runs at once, in one process; then each again from its checkpoint at step 4."""
    made = Workspace.make(tmp_path_factory.mktemp("optimisers"), rows=44)
    done = made.run(*(made.config(name, {**COMMON, **changes}) for name, changes in RUNS.items()))
    (made.folder / "said").write_text(done.stdout, encoding="utf-8")
    for name in RESUMED:
        made.leave_checkpoint(f"{name}-resumed", of=name, step=4)
    made.run(*(made.config(f"{name}-resumed", {**COMMON, **RUNS[name]}) for name in RESUMED))
    return made


def state_size(workspace: Workspace, name: str) -> int:
    """Elements of all tensors in the optimiser's state."""
    saved = torch.load(workspace.output(name) / "checkpoint-8" / "optimizer.pt", weights_only=True)
    return _elements(saved["state"])


def _elements(value: object) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel()
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(map(_elements, inner))


def moved(workspace: Workspace, name: str, steps: int) -> set[str]:
    """Weights that are not what they were in the base model."""
    before = load_file(workspace.folder / "model" / "model.safetensors")
    after = load_file(workspace.output(name) / f"checkpoint-{steps}" / "model.safetensors")
    return {key for key, value in after.items() if not torch.equal(value, before[key])}


@pytest.mark.parametrize("name", RUNS)
def test_learns(workspace: Workspace, name: str) -> None:
    losses = workspace.losses(name)
    assert losses[7] + losses[8] < losses[1] + losses[2] - 0.4


@pytest.mark.parametrize("name", RESUMED)
def test_goes_on_with_the_same_losses(workspace: Workspace, name: str) -> None:
    whole, resumed = workspace.losses(name), workspace.losses(f"{name}-resumed")
    assert sorted(resumed)[-4:] == [5, 6, 7, 8]
    # Muon iterates in bfloat16, which some processors round by how a matrix lies in memory.
    within = 1e-4 if name == "muon" else 1e-5
    assert [resumed[step] for step in range(5, 9)] == pytest.approx([whole[step] for step in range(5, 9)], abs=within)


@pytest.mark.shows("use_galore", "use_apollo", "use_adam_mini", "use_muon", "galore_rank", "apollo_rank")
def test_keeps_less_than_adam(workspace: Workspace) -> None:
    adam = state_size(workspace, "adamw")
    embedding = load_file(workspace.folder / "model" / "model.safetensors")["model.embed_tokens.weight"].numel()
    layers = adam - 2 * embedding
    assert state_size(workspace, "galore") - 2 * embedding < 0.35 * layers
    assert state_size(workspace, "apollo") - 2 * embedding < 0.35 * layers
    assert state_size(workspace, "adam-mini") < 0.52 * adam
    assert state_size(workspace, "muon") - 2 * embedding < 0.52 * layers
    assert state_size(workspace, "galore-layers") == state_size(workspace, "galore")


@pytest.mark.shows("use_badam", "badam_mode", "badam_switch_interval", "badam_verbose")
def test_badam_moves_one_block_and_keeps_its_state_alone(workspace: Workspace) -> None:
    first = moved(workspace, "badam", 4)
    assert first
    assert all(".layers.0." in name or ".layers.1." in name for name in first)
    saved = torch.load(workspace.output("badam") / "checkpoint-4" / "optimizer.pt", weights_only=True)
    assert len(saved["active"]["state"]) == sum(".layers.1." in name for name in first)
    said = (workspace.folder / "said").read_text()
    assert [line.partition(":")[2].strip() for line in said.splitlines() if "BAdam" in line][:2] == [
        "block 0 learns: model.layers.0.",
        "block 1 learns: model.layers.1.",
    ]


@pytest.mark.shows("loraplus_lr_ratio")
def test_lora_plus_moves_b_further(workspace: Workspace) -> None:
    def size(name: str, part: str) -> float:
        saved = load_file(workspace.output(name) / "checkpoint-4" / "adapter_model.safetensors")
        return sum(float(value.norm()) for key, value in saved.items() if part in key)

    assert size("loraplus", "lora_B") > 5 * size("lora", "lora_B")
    assert size("loraplus", "lora_A") == pytest.approx(size("lora", "lora_A"), rel=0.1)


@pytest.mark.parametrize(("names", "ranks", "split"), [(SPLIT, 2, TWO_RANKS), (ALONE, 1, ACCUMULATED)])
def test_splits_of_the_batch_agree(
    workspace: Workspace, names: tuple[str, ...], ranks: int, split: dict[str, Any]
) -> None:
    for name in names:
        workspace.run(workspace.config(f"{name}-{ranks}", {**COMMON, **RUNS[name], **split}), ranks=ranks)
        for what in (workspace.losses, workspace.gradient_norms):
            whole, part = what(name), what(f"{name}-{ranks}")
            off = max(abs(part[step] - whole[step]) / max(1.0, abs(whole[step])) for step in whole)
            print(f"{name} on {ranks}: {what.__name__} {off:.1e}")
            assert off < TOLERANCE, name


@pytest.mark.shows("galore_layerwise", "apollo_layerwise")
def test_one_process_alone(workspace: Workspace) -> None:
    """Unit tests look at the other ones; this is the real world of two."""
    config = workspace.config("refused", {**COMMON, **RUNS["galore-layers"], **TWO_RANKS})
    done = workspace.run(config, ranks=2, check=False)
    assert done.returncode != 0
    assert "galore_layerwise runs in one process, not 2" in done.stdout + done.stderr
