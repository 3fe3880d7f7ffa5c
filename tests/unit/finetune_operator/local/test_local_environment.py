"""Pure: the environment of a node's process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetune_operator import plan, render
from finetune_operator.local import environment
from finetune_operator.local.environment import Node
from finetune_operator.settings import Settings


def variables(make_job: Any, shell: dict[str, str], *, rank: int = 0, **said: Any) -> dict[str, str]:
    run = plan.run_plan(make_job(**said), 1, Settings())
    gpus = run.job.spec.resources.gpus_per_node
    node = Node(rank=rank, gpus=gpus, folder=Path("attempt-1"))
    return environment.of(render.children(run)[-1], node, port=4711, shell=shell)


def test_this_machines_home_stays(make_job: Any) -> None:
    assert variables(make_job, {"HOME": "/home/ada"})["HOME"] == "/home/ada"


@pytest.mark.parametrize(
    ("resources", "rank", "visible"),
    [
        ({"nodes": 2, "gpusPerNode": 2}, 1, "2,3"),
        ({"nodes": 2, "gpusPerNode": 2}, 0, "0,1"),
        ({"nodes": 1, "gpusPerNode": 2}, 0, None),
        ({"nodes": 2, "gpusPerNode": 0}, 1, None),
    ],
)
def test_nodes_share_the_machines_gpus(
    make_job: Any, resources: dict[str, int], rank: int, visible: str | None
) -> None:
    assert variables(make_job, {}, rank=rank, resources=resources).get("CUDA_VISIBLE_DEVICES") == visible


def test_what_the_shell_says_about_devices_stands(make_job: Any) -> None:
    shell = {"CUDA_VISIBLE_DEVICES": "5", "GLOO_SOCKET_IFNAME": "eth7"}
    found = variables(make_job, shell, resources={"nodes": 2, "gpusPerNode": 1})
    assert {key: found[key] for key in shell} == shell


def test_an_unknown_name_in_a_value_stays_as_it_is(make_job: Any) -> None:
    assert variables(make_job, {}, env=[{"name": "A", "value": "$(NOBODY) $$"}])["A"] == "$(NOBODY) $$"
