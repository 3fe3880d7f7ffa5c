import dataclasses
from pathlib import Path

import pytest

from finetune_trainer import config, context, records
from finetune_trainer.context import Place
from finetune_trainer.records import RunSpec

SPEC = RunSpec(
    contract=records.CONTRACT_VERSION,
    namespace="team",
    job="job",
    uid="uid",
    spec_hash="hash",
    nodes=2,
    processes_per_node=4,
    launcher="torchrun",
    output_dir="/runs/team/job/saves",
    overwrite_output_dir=True,
    hang_timeout_seconds=1,
    grace_seconds=1,
)


def cfg(**keys: object) -> config.TrainConfig:
    said = {"do_train": True, "model_name_or_path": "m", "dataset": "d", "template": "qwen", "output_dir": "saves"}
    return config.parse({**said, **keys})


def test_a_ranks_context_comes_from_run_json_and_the_environment(tmp_path: Path) -> None:
    (tmp_path / records.RUN_FILE).write_text(SPEC.to_json())
    environ = {
        records.ENV_CONFIG_DIR: str(tmp_path),
        records.ENV_RUN_DIR: "/run/finetune",
        records.ENV_ATTEMPT: "3",
        records.ENV_WORLD_SIZE: "8",
        "RANK": "5",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "4",
        "WORLD_SIZE": "8",
    }
    found = context.read(cfg(), environ)
    assert (found.is_job, found.attempt, found.expected_world_size) == (True, 3, 8)
    assert found.output_dir == Path("/runs/team/job/saves")
    assert found.overwrite_output_dir, "run.json says what the user said, not train.yaml"
    assert found.place == Place(rank=5, local_rank=1, local_world_size=4, world_size=8)
    assert found.state_dir == Path("/runs/team/job/saves/.finetune")


def test_a_run_by_hand_needs_nothing_but_the_configuration() -> None:
    found = context.read(cfg(overwrite_output_dir=True), {})
    assert (found.is_job, found.attempt, found.expected_world_size, found.run_dir) == (False, 1, None, None)
    assert found.output_dir == Path("saves").absolute()
    assert found.overwrite_output_dir


def test_another_contract_is_refused() -> None:
    spec = dataclasses.replace(SPEC, contract=records.CONTRACT_VERSION + 1)
    with pytest.raises(ValueError, match="contract version 2, this image speaks 1"):
        context.of_job(spec, {})


def test_an_attempt_may_have_other_nodes_than_the_first() -> None:
    text = SPEC.to_json()
    assert RunSpec.of_attempt(text, {}).world_size == 8
    assert RunSpec.of_attempt(text, {records.ENV_NODES: "1"}).world_size == 4
