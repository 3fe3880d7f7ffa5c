"""Four real processes over gloo: two nodes of two ranks, four nodes of one, and four of which one is deaf."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RANKS = 4
RANK = """
import datetime, json, sys, time
from pathlib import Path
from torch import distributed
from finetune_trainer import failures
from finetune_trainer.context import Place, RunContext
from finetune_trainer.distributed import World
from finetune_trainer.network import probe

rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group(
    "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=4, timeout=datetime.timedelta(seconds=60)
)
world = World(rank=rank, size=4, group=distributed.new_group(backend="gloo"))
told = {}
for ranks_of_node in (4, 2, 1):
    lines = []
    found = probe(world, f"host-{rank}", ranks_of_node=ranks_of_node, say=lines.append)
    told[str(ranks_of_node)] = {"lines": lines, "bandwidth": found and list(found.bandwidth)}
if rank == 2:
    distributed.isend = distributed.irecv = lambda *_: time.sleep(60)
with open(f"{folder}/{rank}.json", "w") as stream:
    json.dump(told, stream)
context = RunContext(output_dir=Path(folder), run_dir=Path(folder), place=Place(rank=rank, world_size=4))
with failures.told(context):
    probe(world, f"host-{rank}", ranks_of_node=1, say=print, seconds=2.0)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each rank found."""
    folder = tmp_path_factory.mktemp("probe")
    command = [sys.executable, "-c", RANK]
    ranks = [subprocess.Popen([*command, str(rank), str(folder)]) for rank in range(RANKS)]
    assert [rank.wait(90) for rank in ranks] == [1] * RANKS, "without the interpreter's abort over waiting threads"
    return [_read(folder / f"{rank}.json") | {"error": _read(folder / f"error-{rank}.json")} for rank in range(RANKS)]


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def test_one_node_has_nobody_to_try(told: list[dict[str, Any]]) -> None:
    assert told[0]["4"] == {"lines": [], "bandwidth": None}


@pytest.mark.parametrize(("ranks_of_node", "nodes"), [("2", 2), ("1", 4)])
def test_every_rank_learns_every_nodes_bandwidth(told: list[dict[str, Any]], ranks_of_node: str, nodes: int) -> None:
    speeds = [rank[ranks_of_node]["bandwidth"] for rank in told]
    assert len(speeds[0]) == nodes
    assert all(1e6 < speed < 1e12 for speed in speeds[0])
    assert speeds == [speeds[0]] * RANKS


def test_people_read_one_line(told: list[dict[str, Any]]) -> None:
    first = told[0]["2"]["lines"][0]
    assert first.startswith("network: 2 nodes, ")
    assert "B/s between neighbours, " in first
    assert first.endswith("B/s in a sum over all ranks")


def test_a_deaf_node_is_named_on_every_rank(told: list[dict[str, Any]]) -> None:
    assert {(rank["error"]["reason"], rank["error"]["retryable"]) for rank in told} == {("NetworkDeaf", True)}
    said = {rank["error"]["message"] for rank in told}
    assert len(said) == 1
    assert said.pop().startswith(
        "nothing reaches host-2 from its neighbours, although all ranks met: look at firewalls"
    )
