"""Tricks in whole runs: two that differ in one key differ in what the key is for."""

from __future__ import annotations

from typing import Any

import pytest
from tests.training.runs import Workspace
from transformers import MixtralConfig, MixtralForCausalLM

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

SHORT: dict[str, Any] = {
    "finetuning_type": "full", "max_steps": 2, "save_strategy": "no", "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2, "val_size": 8, "eval_strategy": "steps", "eval_steps": 2, "learning_rate": 0.0,
}  # fmt: skip
"""The weights stand still, so that each loss is that of the same model."""
RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "neftune": {"neftune_noise_alpha": 5},
    "kept": {"disable_gradient_checkpointing": True},
    "compiled": {"torch_compile": True, "torch_compile_backend": "aot_eager"},
    "shifted": {"shift_attn": True},
    "balanced": {"moe_aux_loss_coef": 1.0},
    "balanced-1x8": {"moe_aux_loss_coef": 1.0, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
    "unbalanced": {},
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace.make(tmp_path_factory.mktemp("tricks"))
    made.run(*(made.config(name, {**SHORT, **changes, **model(made, name)}) for name, changes in RUNS.items()))
    return made


def model(workspace: Workspace, name: str) -> dict[str, str]:
    """Runs about routers train a tiny mixture of experts."""
    if "balanced" not in name:
        return {}
    folder = workspace.folder / "experts"
    if not folder.exists():
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(workspace.folder / "model")
        tokenizer.save_pretrained(folder)
        settings = MixtralConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, num_local_experts=4, max_position_embeddings=512,
            initializer_range=0.1,
        )  # fmt: skip
        MixtralForCausalLM(settings).save_pretrained(folder)
    return {"model_name_or_path": str(folder)}


def eval_loss(workspace: Workspace, name: str) -> float:
    import json

    state = json.loads((workspace.output(name) / "trainer_state.json").read_text(encoding="utf-8"))
    return float([entry["eval_loss"] for entry in state["log_history"] if "eval_loss" in entry][-1])


@pytest.mark.shows("neftune_noise_alpha")
def test_neftune_disturbs_training_and_not_evaluation(workspace: Workspace) -> None:
    noisy, plain = workspace.losses("neftune"), workspace.losses("plain")
    assert all(abs(noisy[step] - plain[step]) > 1e-4 for step in (1, 2))
    assert eval_loss(workspace, "neftune") == eval_loss(workspace, "plain")


@pytest.mark.shows("disable_gradient_checkpointing")
def test_checkpointing_changes_no_loss(workspace: Workspace) -> None:
    for what in (workspace.losses, workspace.gradient_norms):
        assert what("kept") == pytest.approx(what("plain"), rel=1e-5)


@pytest.mark.shows("torch_compile", "torch_compile_backend")
def test_compiling_changes_no_loss(workspace: Workspace) -> None:
    assert workspace.losses("compiled") == pytest.approx(workspace.losses("plain"), rel=1e-4)


@pytest.mark.shows("shift_attn")
def test_shifted_attention_is_for_training_alone(workspace: Workspace) -> None:
    assert workspace.losses("shifted")[1] != pytest.approx(workspace.losses("plain")[1], rel=1e-4)
    assert eval_loss(workspace, "shifted") == pytest.approx(eval_loss(workspace, "plain"), rel=1e-5)


@pytest.mark.shows("moe_aux_loss_coef")
def test_the_routers_loss_counts_once_however_the_batch_is_split(workspace: Workspace) -> None:
    """It depends on the micro batch (named in the documentation), but is a mean over micro batches, not a sum."""
    whole, split = workspace.losses("balanced")[1], workspace.losses("balanced-1x8")[1]
    added = whole - workspace.losses("unbalanced")[1]
    assert 1.9 < added < 3, "two of four experts are chosen, so it is about 2"
    assert split == pytest.approx(whole, abs=0.2)
    assert workspace.gradient_norms("balanced")[1] > 1.01 * workspace.gradient_norms("unbalanced")[1]
