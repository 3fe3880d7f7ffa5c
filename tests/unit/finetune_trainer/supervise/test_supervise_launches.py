"""The launcher's command and environment, and the real launchers."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import sys

import pytest
from supervised_pod import RANKS, Pod, until

from finetune_trainer.supervise import launch
from finetune_trainer.supervise.launch import Place

REAL = """
import logging, os, sys
from finetune_trainer.supervise import launch, supervise
logging.basicConfig(format="supervise: %(message)s", level=logging.INFO)
sys.exit(supervise(os.environ, command=lambda *args: launch.command(*args, rank=["fake_rank"])))
"""
RANK = """
rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
names = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "FINETUNE_WORLD_SIZE", "LOCAL_WORLD_SIZE", "PET_NNODES"]
(run_dir / f"seen-{rank}").write_text(repr({name: os.environ.get(name) for name in names}))
beat(local_rank, step=1)
"""
DONE = 'if local_rank == 0: leave("result.json", RunResult(result="succeeded", step=9))\n'
WORLD = {"PET_NPROC_PER_NODE": "2", "PET_MASTER_ADDR": "127.0.0.1", "MASTER_ADDR": "127.0.0.1", "RANK": "0"}


def start_real(pod: Pod, launcher: str, ranks: str) -> object:
    pod.configure(launcher=launcher, processes_per_node=2)
    (pod.config / "hostfile").write_text("127.0.0.1 slots=2\n")
    (pod.root / "fake_rank.py").write_text(RANKS + RANK + ranks)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    paths = os.pathsep.join([str(pod.root), *(path for path in sys.path if path)])
    quiet = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    return pod.start_supervisor([sys.executable, "-c", REAL], **WORLD, PET_MASTER_PORT=port, MASTER_PORT=port, **quiet)


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_a_real_launcher_starts_the_ranks_of_the_job(pod: Pod, launcher: str) -> None:
    process = start_real(pod, launcher, DONE)
    assert process.wait(100) == 0, pod.log.read_text()
    for rank in ("0", "1"):
        seen = eval((pod.run / f"seen-{rank}").read_text())
        assert (seen["RANK"], seen["LOCAL_RANK"], seen["WORLD_SIZE"]) == (rank, rank, "2")
        assert (seen["FINETUNE_WORLD_SIZE"], seen["MASTER_ADDR"]) == ("2", "127.0.0.1")
        assert (seen["LOCAL_WORLD_SIZE"], seen["PET_NNODES"]) == ("2", None)


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_a_rank_that_is_killed_is_found_behind_a_real_launcher(pod: Pod, launcher: str) -> None:
    process = start_real(pod, launcher, "if rank == 1: os.kill(os.getpid(), 9)\ntime.sleep(600)")
    assert process.wait(100) == 1
    outcome = pod.message
    assert (outcome.reason, outcome.retryable) == ("Crashed", True)
    assert "SIGKILL" in outcome.message, outcome
    assert outcome.rank == (1 if launcher == "torchrun" else None)


def test_the_ranks_of_a_real_torchrun_save_before_anybody_is_signalled(pod: Pod) -> None:
    saves = """
while not (run_dir / "stop").exists(): time.sleep(0.01)
if local_rank == 0: leave("result.json", RunResult(result="stopped", step=1, checkpoint_step=1))
"""
    process = start_real(pod, "torchrun", saves)
    until(lambda: all((pod.run / f"heartbeat-{rank}.json").exists() for rank in (0, 1)), 90)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert (pod.message.result, pod.message.exit_code) == ("stopped", 0)


def test_two_nodes_are_told_apart(pod: Pod) -> None:
    pod.configure(nodes=4, processes_per_node=8)
    environment = {"PET_NNODES": "4", "PET_NPROC_PER_NODE": "8", "PET_NODE_RANK": "3"}
    where = launch.place(pod.spec, environment | {"PET_MASTER_ADDR": "demo-1-master-0", "PET_MASTER_PORT": "23456"})
    assert where == Place(node_rank=3, master_addr="demo-1-master-0", master_port=23456)
    argv = launch.command(pod.spec, where, pod.config)
    flags = dict(itertools.pairwise(argv))
    assert (flags["--nnodes"], flags["--nproc-per-node"], flags["--node-rank"]) == ("4", "8", "3")
    assert (flags["--master-addr"], flags["--master-port"], flags["--max-restarts"]) == (
        "demo-1-master-0",
        "23456",
        "0",
    )


def test_ranks_do_not_meet_the_pods_own_variables(pod: Pod) -> None:
    environment = {"PET_NNODES": "1", "RANK": "0", "WORLD_SIZE": "8", "HF_TOKEN": "kept", "PET_RDZV_BACKEND": "c10d"}
    at_home = launch.Pod.from_environment(pod.environment)
    ranks = launch.environment_of_ranks(pod.spec, at_home, environment)
    assert not [name for name in ranks if name.startswith("PET_") or name in {"RANK", "WORLD_SIZE"}]
    assert (ranks["HF_TOKEN"], ranks["FINETUNE_WORLD_SIZE"]) == ("kept", "1")
    assert ranks["DISABLE_KUBEFLOW_INTEGRATION"] == "TRUE"


def test_a_users_allocator_settings_stay(pod: Pod) -> None:
    at_home = launch.Pod.from_environment(pod.environment)
    said = {"PYTORCH_ALLOC_CONF": "max_split_size_mb:64"}
    assert "PYTORCH_CUDA_ALLOC_CONF" not in launch.environment_of_ranks(pod.spec, at_home, said)
    assert "PYTORCH_CUDA_ALLOC_CONF" in launch.environment_of_ranks(pod.spec, at_home, {})
