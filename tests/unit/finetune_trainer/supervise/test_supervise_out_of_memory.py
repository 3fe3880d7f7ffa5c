"""What is told of a run whose memory was full: measured, estimated, and what would fit."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from supervised_pod import Pod, until

from finetune_trainer import records
from finetune_trainer.records import Outcome, RankError, RunSpec
from finetune_trainer.supervise import memory, out_of_memory
from finetune_trainer.supervise.memory import Group
from finetune_trainer.supervise.out_of_memory import Full

GIB = 1 << 30
MODEL = {
    "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip
SAID = "CUDA out of memory. Tried to allocate 2.03 GiB. GPU 0 has a total capacity of 79.25 GiB"
OF_A_RANK = RankError(
    rank=3, reason=records.OUT_OF_MEMORY, message=SAID, retryable=False, peak_memory=int(78.2 * GIB),
    allocated_memory=int(71.4 * GIB), gpu_memory=int(79.25 * GIB),
)  # fmt: skip


def told(message: str = SAID, reason: str = records.OUT_OF_MEMORY) -> Outcome:
    return Outcome(
        result="failed", reason=reason, message=message, retryable=True, attempt=1, node_rank=0, spec_hash="abc"
    )


def run(**changes: Any) -> RunSpec:
    values: dict[str, Any] = {
        "contract": 1, "namespace": "team", "job": "demo", "uid": "u", "spec_hash": "abc", "nodes": 1,
        "processes_per_node": 8, "launcher": "torchrun", "output_dir": "/out", "overwrite_output_dir": False,
        "hang_timeout_seconds": 0, "grace_seconds": 1, "gpus_per_node": 8,
    }  # fmt: skip
    return RunSpec(**{**values, **changes})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A 7B model, full, with ZeRO-2."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(MODEL))
    return write(tmp_path, {"deepspeed": "zero2"})


def write(folder: Path, changes: dict[str, Any]) -> Path:
    keys = {
        "model_name_or_path": str(folder / "model"), "stage": "sft", "do_train": True, "finetuning_type": "full",
        "template": "qwen", "dataset": "rows", "output_dir": str(folder / "out"), "cutoff_len": 8192, "bf16": True,
        "per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, **changes,
    }  # fmt: skip
    (folder / records.TRAIN_FILE).write_text(yaml.safe_dump(keys))
    return folder


def lines(full: Full, config: Path, **changes: Any) -> list[str]:
    outcome = out_of_memory.explained(told(), full, run(**changes), config)
    assert outcome.retryable is False
    return outcome.message.splitlines()


def test_measured_estimated_and_what_would_fit_stand_side_by_side(config: Path) -> None:
    said, measured, estimated, instead = lines(Full(error=OF_A_RANK, group=Group()), config)
    assert said == SAID
    assert measured == "measured: rank 3 took 78.2 GiB of its GPU's 79.2 GiB at most, 71.4 GiB of it in tensors"
    assert estimated.startswith("estimated: 168.6 GiB a rank (first loss): ")
    for part in ("weights 14.2", "optimiser 3.5", "activations 14.0", "logits 129.9", "overhead 7.0"):
        assert part in estimated
    assert instead.startswith("what would fit 79.2 GiB: ")
    assert "per_device_train_batch_size: " in instead


def test_an_estimate_that_was_too_low_is_not_repeated_as_advice(config: Path) -> None:
    write(config, {"deepspeed": "zero3", "per_device_train_batch_size": 1, "cutoff_len": 1024})
    *_, instead = lines(Full(error=OF_A_RANK, group=Group()), config)
    assert instead.startswith("that should fit 79.2 GiB: it is too low, or another program is there; less is ")


def test_where_nothing_fits_the_least_is_told(config: Path) -> None:
    small = RankError.from_json(OF_A_RANK.to_json().replace(str(OF_A_RANK.gpu_memory), str(2 * GIB)))
    *_, instead = lines(Full(error=small, group=Group()), config)
    assert instead.startswith("nothing of this model fits 2.0 GiB; least takes ")


def test_ranks_on_cpus_share_what_the_pod_may_take(config: Path) -> None:
    full = Full(error=None, group=Group(limit=64 * GIB, peak=64 * GIB))
    _, measured, estimated, instead = lines(full, config, gpus_per_node=0, processes_per_node=4)
    assert measured == "measured: the pod took 64.0 GiB at most, of the 64.0 GiB of resources.memory"
    assert estimated.startswith("estimated: ")
    assert "16.0 GiB" in instead


def test_a_pod_with_gpus_whose_main_memory_was_full_is_not_told_of_its_gpus(config: Path) -> None:
    full = Full(error=None, group=Group(limit=64 * GIB, peak=64 * GIB))
    assert "nothing of this run is offloaded" in lines(full, config)[-1]
    write(config, {"deepspeed": "zero3_offload"})
    assert "what is offloaded takes 16.0 GiB of main memory for each of 8 ranks" in lines(full, config)[-1]


def test_a_run_that_cannot_be_sized_is_told_all_the_same(config: Path) -> None:
    (config / "model" / "config.json").unlink()
    _, measured, estimated = lines(Full(error=OF_A_RANK, group=Group()), config)
    assert measured.startswith("measured: rank 3")
    assert "estimated: not known (" in estimated
    assert "there is no config.json" in estimated


def test_another_end_is_left_as_it_is(config: Path) -> None:
    other = told("boom", "Crashed")
    assert out_of_memory.explained(other, Full(error=None, group=Group()), run(), config) == other


def test_a_long_message_keeps_its_beginning(config: Path) -> None:
    outcome = out_of_memory.explained(told("x" * 5000), Full(error=OF_A_RANK, group=Group()), run(), config)
    assert len(outcome.message) < 1024, "a condition shows all of it"


@pytest.mark.parametrize(
    ("limit", "peak", "group"),
    [
        ("68719476736\n", "68719476736\n", Group(limit=64 * GIB, peak=64 * GIB)),
        ("max\n", "1073741824\n", Group(limit=None, peak=GIB)),
        ("9223372036854771712\n", None, Group(limit=None, peak=None)),
    ],
)
def test_the_pods_limit_and_peak_are_read(tmp_path: Path, limit: str, peak: str | None, group: Group) -> None:
    (tmp_path / "limit").write_text(limit)
    if peak is not None:
        (tmp_path / "peak").write_text(peak)
    absent = (tmp_path / "none", tmp_path / "none")
    assert memory.group((absent, (tmp_path / "limit", tmp_path / "peak"))) == group
    assert memory.group((absent,)) == Group()


def test_a_real_supervisor_adds_it_to_the_outcome(pod: Pod) -> None:
    ranks = """
full = RankError(rank=0, reason="OutOfMemory", message="no memory", retryable=False, peak_memory=3 << 30)
leave("error-0.json", full)
sys.exit(1)
"""
    _, outcome = pod.outcome(ranks)
    assert (outcome.reason, outcome.retryable) == ("OutOfMemory", False)
    said, measured, estimated = outcome.message.splitlines()
    assert (said, measured) == ("no memory", "measured: rank 0 took 3.0 GiB of main memory at most")
    assert estimated.startswith("estimated: not known (")


CONTROLLER = Path("/sys/fs/cgroup/memory")
IN_A_GROUP = """
echo $$ > {group}/cgroup.procs
exec unshare --cgroup --mount sh -c 'mkdir -p {view} && mount -t cgroup -o memory cgroup {view} \\
  && mount --bind {view} /sys/fs/cgroup/memory && exec "$@"' sh "$@"
"""


@pytest.fixture
def memory_group(tmp_path: Path) -> Iterator[list[str]]:
    """What runs a program as a container of 512 MiB sees itself: its group is the root of what it can see."""
    group = CONTROLLER / f"finetune-test-{os.getpid()}"
    group.mkdir()
    (group / "memory.limit_in_bytes").write_text(str(512 << 20))
    yield ["sh", "-c", IN_A_GROUP.format(group=group, view=tmp_path / "view"), "sh"]
    until(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


@pytest.mark.skipif(
    os.getuid() != 0 or not (CONTROLLER / "cgroup.procs").exists(),
    reason="needs root, and the memory controller of cgroup v1",
)
def test_a_rank_that_the_kernel_kills_for_memory_is_not_tried_again(pod: Pod, memory_group: list[str]) -> None:
    ranks = """
beat(step=3)
held = []
while True: held.append(os.urandom(1 << 20))
"""
    process = pod.start(ranks, within=memory_group)
    assert process.wait(60) == 1
    outcome = pod.message
    assert (outcome.reason, outcome.retryable, outcome.exit_code) == ("OutOfMemory", False, -9), outcome
    said, measured, _ = outcome.message.splitlines()
    assert said.startswith("the kernel killed a process of this pod for memory")
    assert measured == "measured: the pod took 0.5 GiB at most, of the 0.5 GiB of resources.memory"
