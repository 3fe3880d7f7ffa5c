"""What changes with another number of ranks, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.checkpoints import Checkpoint, Kind
from finetune_trainer.config import parse
from finetune_trainer.failures import CheckpointInvalid
from finetune_trainer.records import CheckpointMark
from finetune_trainer.resize import Resize, plan
from finetune_trainer.resize.plan import adapted

TWO_BY_TWO = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
STAGE_3 = {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True}


def checkpoint(
    ranks: int | None = 2, *, batch: int | None = 8, per_rank: int | None = 4, kind: Kind | None = "deepspeed"
) -> Checkpoint:
    mark = CheckpointMark(
        uid="", spec_hash="", attempt=1, step=3, world_size=ranks or 0, global_batch=batch, rows_per_rank=per_rank
    )
    return Checkpoint(path=Path("checkpoint-3"), step=3, mark=mark if ranks else None, kind=kind, ranks=ranks)


def planned(ranks: int, of: Checkpoint | None = None, **keys: Any) -> Resize | None:
    return plan(parse({"deepspeed": "zero3", **TWO_BY_TWO, **keys}), of or checkpoint(), ranks=ranks)


def refused(ranks: int, of: Checkpoint | None = None, **keys: Any) -> str:
    with pytest.raises(CheckpointInvalid) as caught:
        planned(ranks, of, **keys)
    return str(caught.value)


@pytest.mark.parametrize(("ranks", "accumulation"), [(1, 4), (4, 1)])
def test_the_global_batch_is_held(ranks: int, accumulation: int) -> None:
    resize = planned(ranks)
    assert resize is not None
    assert (resize.accumulation, resize.global_batch, resize.universal) == (accumulation, 8, True)
    assert f"gradient_accumulation_steps {accumulation} in place of 2: the global batch stays 8" in resize.words()


def test_as_many_ranks_change_nothing() -> None:
    assert planned(2) is None
    assert planned(2, gradient_accumulation_steps=4) is None, "who changes the batch alone has it changed"
    assert plan(parse({}), None, ranks=2) is None


def test_a_run_that_was_resized_stays_so_when_it_is_started_again() -> None:
    resize = planned(1, checkpoint(1))
    assert resize is not None
    assert (resize.accumulation, resize.universal) == (4, False)
    assert resize.words() == (
        "gradient_accumulation_steps 4 in place of 2: the global batch stays 8, as in checkpoint-3"
    )


def test_who_has_written_the_accumulation_that_holds_the_batch_is_taken_at_his_word() -> None:
    resize = planned(1, gradient_accumulation_steps=4)
    assert resize is not None
    assert resize.words() == "checkpoint-3 was written by 2 ranks, 1 rank go on; the global batch stays 8"


def test_a_mark_of_before_says_no_batch_and_train_yaml_is_believed() -> None:
    resize = planned(1, checkpoint(batch=None, per_rank=None))
    assert resize is not None
    assert resize.global_batch == 8


def test_a_batch_that_cannot_be_shared_is_refused_with_what_to_write() -> None:
    assert refused(3) == (
        "checkpoint-3 was written by 2 ranks with a global batch of 8, and 3 ranks with per_device_train_batch_size "
        "2 can't make steps of 8 rows: start 1, 2 or 4 ranks"
    )
    assert "write per_device_train_batch_size: 1, or start 1, 2 or 4 ranks" in refused(8)


def test_without_deepspeed_and_with_its_stage_0_nothing_was_split() -> None:
    for keys, kind in (({"deepspeed": None}, "plain"), ({"deepspeed": "zero0"}, "deepspeed")):
        resize = planned(1, checkpoint(kind=kind), **keys)  # type: ignore[arg-type]
        assert resize is not None
        assert not resize.universal


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"dataloader_drop_last": True}, "dataloader_drop_last: 1 rank would drop other rows"),
        (
            {"load_best_model_at_end": True, "eval_strategy": "steps", "val_size": 0.1},
            "write load_best_model_at_end: false, or go on with 2 ranks",
        ),
        ({"deepspeed": None}, "written with DeepSpeed and this run has neither DeepSpeed nor FSDP.*keep deepspeed"),
        (
            {"deepspeed": {"zero_optimization": {**STAGE_3, "offload_optimizer": {"device": "nvme"}}}},
            "offload_optimizer on nvme",
        ),
        ({"deepspeed": {"zero_optimization": {**STAGE_3, "mics_shard_size": 2}}}, "mics_shard_size"),
    ],
    ids=str,
)
def test_what_cannot_go_on_is_refused_by_name(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointInvalid, match=words):
        planned(1, **keys)


def test_fsdp_goes_on_with_as_many_ranks() -> None:
    pieces = {"deepspeed": None, "fsdp": "full_shard auto_wrap"}
    assert planned(2, checkpoint(kind="fsdp"), **pieces) is None
    assert "go on with 2 ranks; a run with deepspeed: zero3 can" in refused(4, checkpoint(kind="fsdp"), **pieces)


def test_another_kind_of_run_is_refused_on_as_many_ranks_too() -> None:
    assert "leave both out as it was" in refused(2, checkpoint(kind="plain"))
    assert planned(2, checkpoint(kind=None)) is None, "after save_only_model nothing is lost"


def test_the_configuration_of_a_run_that_goes_on() -> None:
    cfg = parse({"deepspeed": "zero3", **TWO_BY_TWO})
    changed = adapted(cfg, planned(1)).training
    assert changed.gradient_accumulation_steps == 4
    assert isinstance(changed.deepspeed, dict)
    assert changed.deepspeed["checkpoint"] == {"load_universal": True}
    assert changed.deepspeed["train_batch_size"] == 8
    assert adapted(cfg, None) is cfg


def test_the_whole_numbers_of_a_users_own_deepspeed_config_follow() -> None:
    own = {
        "zero_optimization": {"stage": 2},
        "train_batch_size": 4,  # as an operator writes it for one node
        "gradient_accumulation_steps": 2,
        "checkpoint": {"parallel_write": {"pipeline_stage": False}},
    }
    cfg = parse({"deepspeed": own, **TWO_BY_TWO})
    changed = adapted(cfg, plan(cfg, checkpoint(), ranks=1)).training.deepspeed
    assert changed == {
        "zero_optimization": {"stage": 2},
        "train_batch_size": 8,
        "gradient_accumulation_steps": 4,
        "checkpoint": {"parallel_write": {"pipeline_stage": False}, "load_universal": True},
    }
    held = adapted(cfg, plan(cfg, checkpoint(1), ranks=1)).training.deepspeed
    assert isinstance(held, dict)
    assert "load_universal" not in held["checkpoint"]
