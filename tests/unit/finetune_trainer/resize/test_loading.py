"""What DeepSpeed's universal checkpoint leaves wrong, and is mended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from finetune_trainer import records
from finetune_trainer.checkpoints import Keeper
from finetune_trainer.context import Place, RunContext
from finetune_trainer.distributed import World
from finetune_trainer.failures import CheckpointInvalid
from finetune_trainer.resize.convert import strange
from finetune_trainer.resize.resumed import drawn_anew, mend
from finetune_trainer.resize.universal import MARK, is_united, unite, workers

GIGABYTE = 1 << 30


def adamw() -> torch.optim.AdamW:
    """Two groups of one weight each, after a step."""
    one, other = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = torch.optim.AdamW([{"params": [one], "weight_decay": 0.1}, {"params": [other], "lr": 0.5}], lr=0.1)
    (one.sum() + other.sum()).backward()
    optimizer.step()
    return optimizer


def test_each_group_has_its_own_settings_again_and_each_weight_its_own_count() -> None:
    optimizer = adamw()
    saved = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    count = torch.tensor(7.0)
    for group, weight in zip(optimizer.param_groups, list(optimizer.state), strict=True):
        group.update(saved[0])
        optimizer.state[weight]["step"] = count
    mend(optimizer, [{**group, "params": [number]} for number, group in enumerate(saved)])
    assert [(group["weight_decay"], group["lr"]) for group in optimizer.param_groups] == [(0.1, 0.1), (0.01, 0.5)]
    assert all(isinstance(group["params"][0], torch.nn.Parameter) for group in optimizer.param_groups)
    optimizer.step()
    assert [float(state["step"]) for state in optimizer.state.values()] == [8.0, 8.0]


def test_ranks_without_a_state_draw_from_a_seed_that_is_known_beforehand() -> None:
    assert drawn_anew(42, 10) == drawn_anew(42, 10)
    assert len({drawn_anew(seed, step) for seed in (1, 2) for step in (10, 20)}) == 4
    assert 0 <= drawn_anew(42, 10) < 2**32


def test_only_adams_moments_can_be_taken_over() -> None:
    one, whole = torch.ones(3), torch.tensor(1.0)
    assert strange({0: {"step": whole, "exp_avg": one, "exp_avg_sq": one}}) == ""
    assert strange({0: {"exp_avg": one}}) == "exp_avg"
    assert strange({0: {"step": 1, "state1": one, "state2": one}}) == "state1, state2"


def test_processes_by_memory_and_cores() -> None:
    assert workers(GIGABYTE // 2, free=64 * GIGABYTE, cores=8) == 1, "small parts are read sooner than forked"
    assert workers(4 * GIGABYTE, free=64 * GIGABYTE, cores=32) == 8
    assert workers(4 * GIGABYTE, free=20 * GIGABYTE, cores=32) == 2
    assert workers(40 * GIGABYTE, free=20 * GIGABYTE, cores=32) == 1
    assert workers(4 * GIGABYTE, free=None, cores=32) == 1


def keeper(folder: Path) -> Keeper:
    context = RunContext(output_dir=folder, place=Place())
    made = Keeper(context=context, world=World(), limit=None)
    made.claim()
    return made


def test_what_cannot_be_converted_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-3"
    (folder / "global_step3").mkdir(parents=True)
    (folder / "latest").write_text("global_step3")
    with pytest.raises(CheckpointInvalid, match=r"checkpoint-3 can't go on with another number of ranks: .*empty"):
        unite(folder, World(), keeper(tmp_path))
    assert sorted(path.name for path in folder.iterdir()) == ["global_step3", "latest"]


def test_a_whole_one_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-3"
    folder.mkdir()
    (folder / MARK).write_text("global_step3_universal")
    assert not is_united(folder), "the mark alone is none"
    (folder / "global_step3_universal").mkdir()
    assert is_united(folder)
    unite(folder, World(), keeper(tmp_path))


def test_the_converter_refuses_another_optimiser(tmp_path: Path) -> None:
    parts = tmp_path / "global_step3"
    parts.mkdir()
    held = {"base_optimizer_state": {"state": {0: {"step": 3, "momentum_buffer": torch.ones(4)}}}}
    torch.save({"optimizer_state_dict": held}, parts / "zero_pp_rank_0_mp_rank_00_optim_states.pt")
    done = subprocess.run(
        [sys.executable, "-m", "finetune_trainer.resize.convert", parts.name, "result", "1"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "the optimiser keeps momentum_buffer, DeepSpeed's universal checkpoint knows Adam's moments alone"
    )
    assert not (tmp_path / "result").exists()


def test_a_checkpoint_written_over_keeps_no_parts_of_the_earlier_one(tmp_path: Path) -> None:
    """Else a universal checkpoint of old weights, or parts of ranks that are gone, would be taken for its own."""
    folder = tmp_path / "checkpoint-3"
    (folder / "global_step3_universal").mkdir(parents=True)
    for name in (MARK, "rng_state_3.pth", records.CHECKPOINT_MARK):
        (folder / name).touch()
    keeper(tmp_path).open(3)
    assert [path.name for path in folder.iterdir()] == [records.CHECKPOINT_OPENED]
