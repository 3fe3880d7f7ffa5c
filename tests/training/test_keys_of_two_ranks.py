"""Keys about several ranks: two nodes of one rank each, every configuration a world of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.training.runs import Workspace, free_port

pytestmark = [pytest.mark.train, pytest.mark.timeout(900)]

BASE = {
    "max_steps": 3,
    "save_strategy": "no",
    "warmup_ratio": 0.0,
    "per_device_train_batch_size": 4,
    "log_level": "info",
    "log_level_replica": "error",
}
NO_CHECKPOINTING = {"disable_gradient_checkpointing": True}
RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one-speaks": {"log_on_each_node": False},
    "all-speak": {"log_on_each_node": False, "log_level_replica": "info"},
    "by-rank": {"average_tokens_across_devices": False},
    "bucket": {"ddp_bucket_cap_mb": 1},
    "buffers": {"ddp_broadcast_buffers": False},
    "static": {"ddp_static_graph": True},
    "search": {"ddp_find_unused_parameters": True, **NO_CHECKPOINTING},
}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, list[str]]:
    """All runs on both nodes, and what each node said on its standard error."""
    made = Workspace.make(tmp_path_factory.mktemp("two-nodes"), rows=40)
    configs = [made.config(name, {**BASE, **changes}) for name, changes in RUNS.items()]
    ports = " ".join(str(free_port()) for _ in RUNS)
    command = [sys.executable, Path(__file__).parent / "observed_rank.py", made.folder, *configs]
    nodes = [
        subprocess.Popen(command, env=node(made, rank, ports), stderr=subprocess.PIPE, text=True) for rank in range(2)
    ]
    said = [process.communicate(timeout=600)[1] for process in nodes]
    assert [process.returncode for process in nodes] == [0, 0], said[0][-2000:]
    return made, said


def node(workspace: Workspace, rank: int, ports: str) -> dict[str, str]:
    """The environment of a node's only rank."""
    world = {"RANK": str(rank), "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}
    own = {"MASTER_ADDR": "127.0.0.1", "PORTS": ports, "HF_DATASETS_CACHE": str(workspace.folder / f"cache-{rank}")}
    return {**os.environ, **workspace.environment(), **world, **own}


def seen(workspace: Workspace, name: str) -> dict[str, Any]:
    """What DistributedDataParallel tells of itself."""
    told: dict[str, Any] = json.loads((workspace.folder / f"{name}-0.json").read_text(encoding="utf-8"))
    assert told["code"] == 0
    found: dict[str, Any] = told["ddp"]
    return found


def speaks(said: str, name: str) -> bool:
    """Whether transformers announced this run's training there."""
    part = re.split(r"^=== ", said, flags=re.MULTILINE)[list(RUNS).index(name) + 1]
    return "Running training" in part


@pytest.mark.shows("average_tokens_across_devices")
def test_each_ranks_own_mean_is_another_loss(ranks: tuple[Workspace, list[str]]) -> None:
    assert abs(ranks[0].losses("by-rank")[1] - ranks[0].losses("plain")[1]) > 1e-4


@pytest.mark.shows("ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_static_graph", "ddp_find_unused_parameters")
def test_ddp_does_as_it_is_told(ranks: tuple[Workspace, list[str]]) -> None:
    plain = seen(ranks[0], "plain")
    for name, key in (
        ("bucket", "bucket_cap_bytes"),
        ("buffers", "broadcast_buffers"),
        ("static", "static_graph"),
        ("search", "find_unused_parameters"),
    ):
        assert seen(ranks[0], name).get(key) != plain.get(key), key


@pytest.mark.shows("log_level_replica", "log_on_each_node")
def test_who_speaks(ranks: tuple[Workspace, list[str]]) -> None:
    _, (first, second) = ranks
    assert all(speaks(first, name) for name in ("plain", "one-speaks", "all-speak"))
    assert [speaks(second, name) for name in ("plain", "one-speaks", "all-speak")] == [True, False, True]


@pytest.mark.shows("ddp_timeout")
def test_a_rank_that_stays_away_is_waited_for_so_long(tmp_path: Path) -> None:
    """torch counts whole seconds, and rounds up."""
    workspace = Workspace.make(tmp_path, rows=8)
    waited = [_waited(workspace, seconds) for seconds in (1, 5)]
    assert 1 <= waited[0] <= 2
    assert 5 <= waited[1] <= 6


def _waited(workspace: Workspace, seconds: int) -> int:
    config = workspace.config(f"alone-{seconds}", {**BASE, "ddp_timeout": seconds})
    command = [sys.executable, Path(__file__).parent / "observed_rank.py", workspace.folder, config]
    done = subprocess.run(
        command, env=node(workspace, 0, str(free_port())), capture_output=True, text=True, timeout=120, check=False
    )
    told = re.search(r"Timed out after (\d+) seconds", done.stderr)
    assert told is not None, done.stderr[-2000:]
    return int(told[1])
