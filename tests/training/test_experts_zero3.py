"""Ranks that route to different experts under ZeRO-3 do not wait for each other for ever."""

from __future__ import annotations

import pytest
import torch
from tests.training.runs import Workspace
from transformers import AutoTokenizer, MixtralConfig, MixtralForCausalLM

pytestmark = [pytest.mark.train, pytest.mark.timeout(400)]


def test_ranks_may_route_differently(tmp_path_factory: pytest.TempPathFactory) -> None:
    workspace = Workspace.make(tmp_path_factory.mktemp("experts"), rows=24)
    tokenizer = AutoTokenizer.from_pretrained(workspace.folder / "model")
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=8, num_experts_per_tok=1, tie_word_embeddings=True,
    )  # fmt: skip
    MixtralForCausalLM(config).save_pretrained(workspace.folder / "model")
    workspace.run(workspace.config("whole", {"max_steps": 3}))
    shared = {"max_steps": 3, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 4, "deepspeed": "zero3"}
    workspace.run(workspace.config("zero3", shared), ranks=2)
    whole, split = workspace.losses("whole"), workspace.losses("zero3")
    assert len(split) == 3
    assert all(abs(split[step] - whole[step]) < 1e-3 for step in whole), (whole, split)
