"""A job's ranks as the supervisor starts them: two nodes, run.json, a run folder each."""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.training.runs import Workspace, free_port

from finetune_trainer import checkpoints, records
from finetune_trainer.records import (
    Completion,
    Heartbeat,
    Preparation,
    PrepareSpec,
    Progress,
    RankError,
    RunResult,
    RunSpec,
)

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

SHORT = {"num_train_epochs": 1.0, "per_device_train_batch_size": 4, "save_steps": 3}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.make(tmp_path_factory.mktemp("jobs"), rows=60)


class Job:
    """A job of two nodes with one process each."""

    def __init__(
        self, workspace: Workspace, name: str, changes: Mapping[str, Any], *, data_prepared: bool = False
    ) -> None:
        self.workspace = workspace
        self.output = workspace.output(name)
        self.config = workspace.config(name, {**SHORT, **changes})
        self.folder = workspace.folder / f"{name}-pods"
        spec = RunSpec(
            contract=records.CONTRACT_VERSION,
            namespace="team",
            job=name,
            uid="uid-1",
            spec_hash="abc",
            nodes=2,
            processes_per_node=1,
            launcher="torchrun",
            output_dir=str(self.output),
            overwrite_output_dir=False,
            hang_timeout_seconds=600,
            grace_seconds=60,
            data_prepared=data_prepared,
        )
        self.folder.mkdir()
        (self.folder / records.RUN_FILE).write_text(spec.to_json(), encoding="utf-8")

    def run_dir(self, node: int, attempt: int) -> Path:
        """The run folder of one pod."""
        path = self.folder / f"{attempt}-{node}"
        path.mkdir(exist_ok=True)
        return path

    def environment(self, node: int, attempt: int, **more: str) -> dict[str, str]:
        """What the supervisor sets for a pod's rank."""
        return {
            records.ENV_CONFIG_DIR: str(self.folder),
            records.ENV_RUN_DIR: str(self.run_dir(node, attempt)),
            records.ENV_ATTEMPT: str(attempt),
            records.ENV_WORLD_SIZE: "2",
            **more,
        }

    def prepare(self) -> Preparation:
        """The Job that comes before attempt 1."""
        shutil.copy(self.config, self.folder / records.TRAIN_FILE)
        wanted = PrepareSpec(source=None, cache=str(self.folder), data=True)
        (self.folder / records.PREPARE_FILE).write_text(wanted.to_json(), encoding="utf-8")
        ours = {records.ENV_RUN_DIR: str(self.folder), records.ENV_TERMINATION_LOG: str(self.folder / "message")}
        subprocess.run(
            [sys.executable, "-m", "finetune_trainer", "prepare"],
            env={**os.environ, **self.workspace.environment(), **self.environment(0, 0), **ours},
            check=True,
            timeout=120,
        )
        return Preparation.from_json((self.folder / "message").read_text(encoding="utf-8"))

    def attempt(self, attempt: int) -> list[RunResult]:
        """Run both pods to their end; the result of each."""
        port = str(free_port())
        place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "LOCAL_RANK": "0"}
        with concurrent.futures.ThreadPoolExecutor() as pool:
            pods = [
                pool.submit(
                    self.workspace.run,
                    self.config,
                    environment=self.environment(node, attempt, RANK=str(node), OMP_NUM_THREADS="1", **place),
                )
                for node in (0, 1)
            ]
            for pod in pods:
                pod.result()
        texts = [(self.run_dir(node, attempt) / records.RESULT_FILE).read_text() for node in (0, 1)]
        return [RunResult.from_json(text) for text in texts]


def test_ranks_take_the_tokens_that_were_prepared_whatever_the_keys_say(workspace: Workspace) -> None:
    job = Job(workspace, "prepared", {"overwrite_cache": True, "max_steps": 2, "cutoff_len": 96}, data_prepared=True)
    before = set((workspace.folder / "cache").rglob("*.arrow"))
    found = job.prepare()
    assert (found.data, found.rows) == (True, 60)
    made = set((workspace.folder / "cache").rglob("*.arrow")) - before
    assert made
    written = {path: path.stat().st_mtime_ns for path in made}
    assert [result.step for result in job.attempt(1)] == [2, 2]
    assert {path: path.stat().st_mtime_ns for path in made} == written


def test_a_stop_heard_by_one_node_saves_on_both_and_the_next_attempt_goes_on(workspace: Workspace) -> None:
    job = Job(workspace, "stopped", {"deepspeed": "zero3"})
    (job.run_dir(1, 1) / records.STOP_FILE).touch()
    stopped = RunResult(result="stopped", step=1, checkpoint_step=1)
    assert job.attempt(1) == [stopped, stopped]
    assert [one.step for one in checkpoints.found(job.output) if one.mark] == [1]

    first, second = job.attempt(2)
    assert first == second
    assert (first.result, first.step, first.checkpoint_step) == ("succeeded", 8, 8)
    assert sorted(workspace.losses("stopped")) == list(range(1, 9)), "each step once, over both attempts"
    completion = Completion.from_json((job.output / records.STATE_DIR / records.COMPLETION_FILE).read_text())
    assert (completion.spec_hash, completion.attempt, completion.step) == ("abc", 2, 8)
    zero = json.loads((job.output / records.STATE_DIR / records.DEEPSPEED_FILE).read_text())
    assert "auto" not in json.dumps(zero), "what was asked for is told in full"
    assert zero["zero_optimization"]["reduce_bucket_size"] == 64 * 64, "of the model's width"
    beat = Heartbeat.from_json((job.run_dir(1, 2) / "heartbeat-0.json").read_text())
    assert (beat.step, beat.phase) == (8, "saving")
    progress = Progress.from_json((job.run_dir(0, 2) / records.PROGRESS_FILE).read_text())
    assert (progress.step, progress.total_steps, progress.checkpoint_step) == (8, 8, 8)
    assert progress.checkpoint_path == "checkpoint-8"
    mark = job.output / "checkpoint-8" / records.CHECKPOINT_MARK
    assert progress.checkpoint_time == mark.stat().st_mtime
    assert progress.tokens_per_second is not None
    assert progress.tokens_per_second_per_gpu == progress.tokens_per_second / 2
    assert progress.peak_memory is not None
    assert progress.peak_memory > 100 * 2**20, "torch alone takes more"
    assert progress.mfu is None, "nobody promises a CPU's speed"
    assert not (job.run_dir(1, 2) / records.PROGRESS_FILE).exists(), "rank 0 alone tells the progress"

    again = job.attempt(3)
    assert [result.result for result in again] == ["succeeded", "succeeded"]
    assert json.loads((job.output / "trainer_state.json").read_text())["global_step"] == 8
    fence = json.loads((job.output / records.STATE_DIR / records.FENCE_FILE).read_text())
    assert fence["attempt"] == 2, "a finished job is not started again"


def test_a_rank_that_is_alone_is_refused_before_anything_is_loaded(workspace: Workspace) -> None:
    job = Job(workspace, "alone", {})
    done = workspace.run(job.config, environment=job.environment(0, 1), check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    error = RankError.from_json((job.run_dir(0, 1) / "error-0.json").read_text())
    assert error.reason == "WorldSizeMismatch"
    assert "joined a world of 1, the job said 2 (nodes 2 x processes 1)" in error.message
    assert error.message in done.stderr
    assert not (job.output / "data_report.json").exists()


def test_a_loss_that_is_not_finite_ends_the_run(workspace: Workspace) -> None:
    changes = {"learning_rate": 1.0e30, "lr_scheduler_type": "constant", "warmup_ratio": 0.0, "max_grad_norm": 0.0}
    done = workspace.run(workspace.config("diverged", {**SHORT, **changes}), check=False)
    assert done.returncode == 1
    assert "LossNotFinite: the loss is " in done.stderr
    assert "Traceback" not in done.stderr
