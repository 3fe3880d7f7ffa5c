"""Files that are no LLaMA-Factory configuration are told as what they are, once, and not key by key."""

from __future__ import annotations

from typing import Any

import pytest

from finetune_trainer.config import ConfigInvalid, parse


@pytest.mark.parametrize(
    ("mapping", "path", "words"),
    [
        (
            {"compute_environment": "LOCAL_MACHINE", "distributed_type": "FSDP", "fsdp_config": {}},
            "spec.training.compute_environment",
            "launch configuration of accelerate",
        ),
        (
            {"model": "Qwen/Qwen3-4B", "peft_config": {"name": "lora"}, "train_dataset": "data/demo.yaml"},
            "spec.training.peft_config",
            "write dataset for train_dataset",
        ),
        ({"model": "Qwen/Qwen3-4B", "peft_config": {}}, "spec.training.model", "write model_name_or_path for model"),
        (
            {"model_name_or_path": "m", "tensor_model_parallel_size": 2, "stage": "sft"},
            "spec.training.tensor_model_parallel_size",
            "Megatron-core (USE_MCA=1), which is not supported: deepspeed: zero3",
        ),
    ],
)
def test_one_sentence_says_what_it_is_and_what_to_write(mapping: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse(mapping)
    (violation,) = refused.value.violations
    assert violation.path == path
    assert words in violation.message
