"""fsdp and fsdp_config, as people write them, on their way to accelerate; and weights that are not in pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn
from transformers import TrainingArguments

from finetune_trainer import distributed_fsdp
from finetune_trainer.config import fsdp, parse
from finetune_trainer.failures import RunError


def plugin(folder: Path, said: dict[str, Any]) -> dict[str, Any]:
    """What transformers hands to accelerate."""
    made = TrainingArguments(output_dir=str(folder), use_cpu=True, report_to="none", **fsdp.arguments(parse(said)))
    found: dict[str, Any] = made.fsdp_plugin_args
    return found


@pytest.mark.shows("fsdp", "fsdp_config", "fsdp_min_num_params", "fsdp_transformer_layer_cls_to_wrap")
@pytest.mark.parametrize(
    ("said", "key", "value"),
    [
        ({"fsdp": "full_shard auto_wrap"}, "reshard_after_forward", True),
        ({"fsdp": "shard_grad_op"}, "reshard_after_forward", False),
        ({"fsdp": "full_shard,offload"}, "cpu_offload", True),
        ({"fsdp": "full_shard", "fsdp_config": {"fsdp_offload_params": True}}, "cpu_offload", True),
        ({"fsdp": "full_shard", "fsdp_config": {"fsdp_reshard_after_forward": False}}, "reshard_after_forward", False),
        ({"fsdp": "full_shard", "fsdp_min_num_params": 100}, "min_num_params", 100),
        (
            {"fsdp": "full_shard", "fsdp_transformer_layer_cls_to_wrap": "LlamaDecoderLayer"},
            "transformer_cls_names_to_wrap",
            "LlamaDecoderLayer",
        ),
        ({"fsdp": "full_shard"}, "fsdp_version", 2),
        (
            {"fsdp": "full_shard", "fsdp_config": {"fsdp_state_dict_type": "FULL_STATE_DICT"}},
            "state_dict_type",
            "SHARDED_STATE_DICT",
        ),
    ],
)
def test_settings_reach_accelerate(said: dict[str, Any], key: str, value: object, tmp_path: Path) -> None:
    assert plugin(tmp_path, said)[key] == value


def test_nothing_without_fsdp() -> None:
    assert fsdp.arguments(parse({})) == {}


def test_whole_weights_on_every_rank_stop_the_run() -> None:
    with pytest.raises(RunError, match="fsdp: weight is whole on every rank"):
        distributed_fsdp.check(nn.Linear(2, 2))
