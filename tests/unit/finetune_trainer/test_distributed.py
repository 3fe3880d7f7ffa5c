import datetime
from pathlib import Path

import pytest
import torch

from finetune_trainer import distributed
from finetune_trainer.context import Place, RunContext
from finetune_trainer.distributed import World
from finetune_trainer.failures import DeviceMissing, WorldSizeMismatch


def test_a_world_of_the_wrong_size_is_refused_before_it_is_joined(tmp_path: Path) -> None:
    context = RunContext(
        output_dir=tmp_path, nodes=4, processes_per_node=8, expected_world_size=32, place=Place(world_size=8)
    )
    with pytest.raises(WorldSizeMismatch, match=r"a world of 8, the job said 32 \(nodes 4 x processes 8\)"):
        distributed.join(context, use_cpu=True, deepspeed=False, timeout=datetime.timedelta(seconds=1))


def test_a_rank_without_the_gpu_that_it_was_given_does_not_train_on_the_cpu(tmp_path: Path) -> None:
    local = Place(local_world_size=torch.cuda.device_count() + 1)
    context = RunContext(output_dir=tmp_path, gpus_per_node=8, place=local)
    with pytest.raises(DeviceMissing, match=r"8 GPUs for \d+ ranks, torch sees"):
        distributed.join(context, use_cpu=False, deepspeed=False, timeout=datetime.timedelta(seconds=1))


def test_alone_without_a_job_is_a_world_of_one(tmp_path: Path) -> None:
    context = RunContext(output_dir=tmp_path, place=Place())
    world = distributed.join(context, use_cpu=True, deepspeed=False, timeout=datetime.timedelta(seconds=1))
    assert world == World()
    assert (world.is_first, world.any(True), world.sum(1, 2.5), world.gather("x")) == (True, True, [1, 2.5], ["x"])


@pytest.mark.shows("data_shared_file_system")
def test_one_rank_of_the_job_prepares_data_that_all_nodes_see_else_one_of_each_node() -> None:
    second_node = World(rank=1, size=2, local_rank=0)
    for shared, goes_first in ((False, True), (True, False)):
        with second_node.first(shared=shared) as first:
            assert first is goes_first
