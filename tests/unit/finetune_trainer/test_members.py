"""Ranks that met: which of them make one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune_trainer.config import alike, parse
from finetune_trainer.context import Place, RunContext
from finetune_trainer.failures import WorldDiffers, WorldMixed
from finetune_trainer.members import Member, check_data, check_members

SOFTWARE = {"torch": "2.13.0", "peft": "0.20.0"}
ONE = Member(rank=0, host="a", attempt=2, spec_hash="0123456789", gpu="GPU-1", software=SOFTWARE)
TWO = replace(ONE, rank=1, host="b", gpu="GPU-2")
SAID: Mapping[str, Any] = {
    "stage": "sft", "template": "default", "dataset": "rows", "output_dir": "here", "model_name_or_path": "model",
}  # fmt: skip


def test_ranks_that_belong_together_are_let_in() -> None:
    check_members([ONE, TWO])


def test_ranks_that_read_other_rows_are_refused() -> None:
    check_data(["1,000 rows (abc)"] * 3)
    with pytest.raises(WorldDiffers, match=r"ranks 0 and 2 read other data: 1,000 rows \(abc\) and 990 rows"):
        check_data(["1,000 rows (abc)", "1,000 rows (abc)", "990 rows (def)"])


def test_ranks_on_cpus_share_what_they_like() -> None:
    check_members([replace(ONE, gpu=None), replace(TWO, gpu=None, host="a")])


@pytest.mark.parametrize("other", [ONE, replace(TWO, attempt=1), replace(TWO, spec_hash="abc")])
def test_a_rank_that_is_there_twice_or_of_another_attempt_is_refused(other: Member) -> None:
    with pytest.raises(WorldMixed, match="rank 0 on a, attempt 2, spec 01234567"):
        check_members([ONE, other])


def test_two_ranks_on_one_gpu_are_refused() -> None:
    with pytest.raises(WorldMixed, match=r"rank 0 on a and rank 1 on b use one GPU \(GPU-1\)"):
        check_members([ONE, replace(TWO, gpu="GPU-1")])


def test_versions_that_differ_are_named() -> None:
    other = replace(TWO, software={"torch": "2.12.1", "peft": "0.20.0", "deepspeed": "0.18.0"})
    with pytest.raises(WorldDiffers, match=r"rank 0 on a and rank 1 on b run different software: "):
        check_members([ONE, other])
    with pytest.raises(
        WorldDiffers, match=r"deepspeed missing and 0\.18\.0, torch 2\.13\.0 and 2\.12\.1; use one image"
    ):
        check_members([ONE, other])


def test_keys_that_differ_are_named_without_their_values() -> None:
    here, there = (alike(parse({**SAID, "learning_rate": rate})) for rate in (1e-5, 2e-5))
    with pytest.raises(WorldDiffers, match="given different values of learning_rate; start all"):
        check_members([replace(ONE, keys=here), replace(TWO, keys=there)])


def test_where_things_lie_may_differ() -> None:
    there = {**SAID, "output_dir": "there", "model_name_or_path": "/mnt/model"}
    assert alike(parse(SAID)) == alike(parse(there))


def test_this_process_says_what_it_runs(tmp_path: Path) -> None:
    me = Member.of(RunContext(output_dir=tmp_path, place=Place(rank=3)), {"seed": "ab"}, on_gpu=False)
    assert (me.rank, me.gpu, me.keys) == (3, None, {"seed": "ab"})
    assert me.software["torch"] == torch.__version__.partition("+")[0]
