"""FSDP2 on two ranks, on CPUs, where accelerate would fall back to DDP: same losses, weights in pieces, resumed."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from tests.training.runs import Workspace
from tests.training.splits import TOLERANCE

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

ROWS = {"max_steps": 8, "save_steps": 4}
SHARED = {**ROWS, "fsdp": "full_shard auto_wrap", "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
LORA = {"finetuning_type": "lora"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The whole runs on one rank, then in pieces on two, then again from step 4."""
    made = Workspace.make(tmp_path_factory.mktemp("fsdp"), rows=44)
    made.run(made.config("whole", ROWS), made.config("lora-whole", {**ROWS, **LORA}))
    made.run(made.config("fsdp", SHARED), ranks=2)
    made.run(made.config("lora-fsdp", {**SHARED, **LORA}), ranks=2)
    made.leave_checkpoint("resumed", of="fsdp", step=4)
    made.run(made.config("resumed", SHARED), ranks=2)
    return made


@pytest.mark.shows("fsdp")
@pytest.mark.parametrize(("name", "whole"), [("fsdp", "whole"), ("lora-fsdp", "lora-whole"), ("resumed", "whole")])
def test_same_losses_and_norms(workspace: Workspace, name: str, whole: str) -> None:
    for what in (workspace.losses, workspace.gradient_norms):
        wanted, got = what(whole), what(name)
        assert set(wanted) == set(range(1, 9))
        steps = range(5 if name == "resumed" else 1, 9)
        off = max(abs(got[step] - wanted[step]) / max(1.0, abs(wanted[step])) for step in steps)
        print(f"{name}: {what.__name__} {off:.1e}")
        assert off < TOLERANCE


def test_checkpoints_in_pieces_and_the_result_whole(workspace: Workspace) -> None:
    checkpoint = workspace.output("fsdp") / "checkpoint-8"
    assert sorted(path.name for path in (checkpoint / "pytorch_model_fsdp_0").glob("*.distcp")) == [
        "__0_0.distcp",
        "__1_0.distcp",
    ]
    got = load_file(workspace.output("fsdp") / "model.safetensors")
    wanted = load_file(workspace.output("whole") / "model.safetensors")
    assert set(got) == set(wanted)
    assert all(torch.allclose(got[name], wanted[name], atol=1e-4) for name in wanted)
    adapter = load_file(workspace.output("lora-fsdp") / "adapter_model.safetensors")
    assert set(adapter) == set(load_file(workspace.output("lora-whole") / "adapter_model.safetensors"))
