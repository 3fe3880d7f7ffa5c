"""What is refused before any rank starts."""

from __future__ import annotations

import os
from typing import Any

import pytest
from supervised_pod import Pod

NEVER = "raise SystemExit('a rank was started')"


def refusal(pod: Pod, **environment: str) -> Any:
    code, outcome = pod.outcome(NEVER, **environment)
    assert (code, outcome.result, outcome.exit_code) == (1, "failed", None)
    assert b"Traceback" not in pod.log.read_bytes()
    return outcome


def test_another_contract(pod: Pod) -> None:
    pod.configure(contract=99)
    outcome = refusal(pod)
    assert (outcome.reason, outcome.retryable) == ("ContractMismatch", False)
    assert "99" in outcome.message


@pytest.mark.parametrize(
    ("name", "value", "numbers"),
    [("PET_NNODES", "2", ("1 nodes", "2")), ("PET_NPROC_PER_NODE", "auto", ("1 processes", "auto"))],
)
def test_another_world(pod: Pod, name: str, value: str, numbers: tuple[str, str]) -> None:
    outcome = refusal(pod, **{name: value})
    assert (outcome.reason, outcome.retryable) == ("WorldSizeMismatch", False)
    assert all(number in outcome.message for number in numbers)
    assert outcome == pod.message


def test_several_nodes_without_the_training_operators_word(pod: Pod) -> None:
    pod.configure(nodes=2)
    del pod.environment["PET_NNODES"]
    assert "2 nodes" in refusal(pod).message


def test_a_rank_that_is_not_among_the_nodes(pod: Pod) -> None:
    assert refusal(pod, PET_NODE_RANK="1").reason == "WorldSizeMismatch"


def test_files_that_are_missing(pod: Pod) -> None:
    pod.configure(launcher="deepspeed")
    (pod.config / "train.yaml").unlink()
    outcome = refusal(pod)
    assert outcome.reason == "ConfigInvalid"
    assert "lacks train.yaml, hostfile" in outcome.message


@pytest.mark.parametrize("text", [None, "{", "[]", '{"contract": 1}'])
def test_a_run_file_that_is_none(pod: Pod, text: str | None) -> None:
    (pod.config / "run.json").unlink()
    if text is not None:
        (pod.config / "run.json").write_text(text)
    assert refusal(pod).reason in {"ConfigInvalid", "ContractMismatch"}


def test_an_output_folder_that_cannot_be(pod: Pod) -> None:
    (pod.root / "file").touch()
    pod.configure(output_dir=str(pod.root / "file" / "output"))
    outcome = refusal(pod)
    assert (outcome.reason, outcome.retryable) == ("OutputNotWritable", False)
    assert f"uid {os.getuid()}, gid {os.getgid()}" in outcome.message


@pytest.mark.skipif(os.getuid() != 0, reason="needs a mount namespace")
def test_a_read_only_volume(pod: Pod) -> None:
    pod.output.mkdir()
    mount = f'mount --bind -o ro {pod.output} {pod.output} && exec "$@"'
    assert pod.start(NEVER, within=["unshare", "--mount", "sh", "-c", mount, "sh"]).wait(60) == 1
    assert (pod.message.reason, pod.message.retryable) == ("OutputNotWritable", False)
    assert "Read-only" in pod.message.message


@pytest.mark.skipif(os.getuid() != 0, reason="needs a mount namespace")
def test_a_full_volume_is_worth_another_try(pod: Pod) -> None:
    pod.output.mkdir()
    fill = f'mount -t tmpfs -o size=4k,nr_inodes=2 none {pod.output} && touch {pod.output}/last && exec "$@"'
    assert pod.start(NEVER, within=["unshare", "--mount", "sh", "-c", fill, "sh"]).wait(60) == 1
    assert (pod.message.reason, pod.message.retryable) == ("OutputNotWritable", True)
