"""LLaMA-Factory's launcher variables -> torchrun's command."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest

from finetune_trainer.cli import by_hand

CONFIG = ("my configs/train.yaml",)
NODES = {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29501"}


def flags(environment: Mapping[str, str], devices: int) -> dict[str, str]:
    argv = by_hand.torchrun(environment, CONFIG, lambda: devices)
    assert argv is not None
    assert argv[-3:] == ["finetune_trainer.cli", "train", "my configs/train.yaml"]
    return dict(itertools.pairwise(argv))


@pytest.mark.parametrize(
    ("environment", "devices"), [({}, 0), ({}, 1), ({"NPROC_PER_NODE": "1"}, 8), ({"LOCAL_RANK": "0"}, 8)]
)
def test_one_process_needs_no_launcher(environment: dict[str, str], devices: int) -> None:
    assert by_hand.torchrun(environment, CONFIG, lambda: devices) is None


@pytest.mark.parametrize(
    ("environment", "devices", "processes"),
    [
        ({}, 8, "8"),
        ({"FORCE_TORCHRUN": "1"}, 0, "1"),
        ({"NPROC_PER_NODE": "4"}, 8, "4"),
        ({"FORCE_TORCHRUN": "true"}, 2, "2"),
    ],
)
def test_one_node(environment: dict[str, str], devices: int, processes: str) -> None:
    said = flags(environment, devices)
    assert (said["--nnodes"], said["--nproc-per-node"], said["--node-rank"]) == ("1", processes, "0")
    assert said["--master-addr"] == "127.0.0.1"


def test_several_nodes_meet_at_the_master() -> None:
    said = flags(NODES, 1)
    assert (said["--nnodes"], said["--node-rank"], said["--nproc-per-node"]) == ("2", "1", "1")
    assert (said["--master-addr"], said["--master-port"]) == ("10.0.0.1", "29501")


@pytest.mark.parametrize("missing", ["NODE_RANK", "MASTER_ADDR", "MASTER_PORT"])
def test_several_nodes_without_a_place_to_meet_are_refused(missing: str) -> None:
    said = {name: value for name, value in NODES.items() if name != missing}
    with pytest.raises(ValueError, match=missing):
        by_hand.torchrun(said, CONFIG, lambda: 1)


def test_elastic_training_is_refused() -> None:
    with pytest.raises(ValueError, match="RDZV_ID"):
        by_hand.torchrun({"RDZV_ID": "x"}, CONFIG, lambda: 1)


def test_devices_are_counted_only_when_they_matter() -> None:
    def count() -> int:
        raise AssertionError("torch would be imported")

    assert by_hand.torchrun({"NPROC_PER_NODE": "2"}, CONFIG, count) is not None


def test_ranks_have_time_to_save_unless_the_user_says_otherwise() -> None:
    assert "PET_NNODES" not in by_hand.environment_of_ranks({"PET_NNODES": "4"})
    assert by_hand.environment_of_ranks({})["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] == by_hand.SAVE_SECONDS
    said = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "5"}
    assert by_hand.environment_of_ranks(said)["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] == "5"


@pytest.mark.parametrize("variable", ["USE_RAY", "USE_MCA", "USE_MEGATRON_BRIDGE", "USE_KT", "USE_V1"])
def test_other_launchers_are_refused_with_what_works(variable: str) -> None:
    with pytest.raises(ValueError, match=f"{variable}: .* not supported; unset it, and "):
        by_hand.torchrun({variable: "1"}, CONFIG, lambda: 1)
    assert by_hand.torchrun({variable: "0"}, CONFIG, lambda: 1) is None


def test_ranks_read_the_same_words() -> None:
    words = ("--stage", "sft", "--learning_rate=1e-5", "--dataset", "a b")
    argv = by_hand.torchrun({"NPROC_PER_NODE": "2"}, words, lambda: 2)
    assert argv is not None
    assert tuple(argv[-len(words) :]) == words
