"""A rank that really cannot get more memory: what its supervisor makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.tiny_model import make_tiny_model
from tests.training.runs import Workspace

from finetune_trainer import records
from finetune_trainer.records import Outcome, RankError, RunSpec

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

ROOM = 1 << 30
"""Bytes that a rank may take beside what its imports have taken: a tiny model, but not the scores of a wide batch."""
RANK = """
import re, resource, sys
from pathlib import Path
from finetune_trainer import cli, config, imports
imports.hurry(config.load(Path(sys.argv[1]), fill=False))
import finetune_trainer.train
taken = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (taken + int(sys.argv[2]),) * 2)
sys.exit(cli.main(["train", "--in-job"]))
"""
SUPERVISOR = """
import os, sys
from finetune_trainer.supervise import supervise
sys.exit(supervise(os.environ, command=lambda run, where, config: [sys.executable, "-c", *sys.argv[1:]]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS and /proc")
def test_what_was_measured_stands_beside_the_estimate(tmp_path: Path) -> None:
    workspace = Workspace.make(tmp_path, rows=300)
    model = make_tiny_model(tmp_path / "many words", spare=124_000)
    wide = {"model_name_or_path": str(model), "per_device_train_batch_size": 256, "train_on_prompt": True}
    config = workspace.config("train", wide)
    spec = RunSpec(
        contract=records.CONTRACT_VERSION, namespace="team", job="full", uid="u", spec_hash="abc", nodes=1,
        processes_per_node=1, launcher="torchrun", output_dir=str(workspace.output("train")),
        overwrite_output_dir=False, hang_timeout_seconds=600, grace_seconds=60,
    )  # fmt: skip
    (tmp_path / records.RUN_FILE).write_text(spec.to_json())
    run_dir = tmp_path / "run"
    pod = {
        records.ENV_CONFIG_DIR: str(tmp_path),
        records.ENV_RUN_DIR: str(run_dir),
        records.ENV_TERMINATION_LOG: str(tmp_path / "termination"),
    }
    done = subprocess.run(
        [sys.executable, "-c", SUPERVISOR, RANK, str(config), str(ROOM)],
        env={**os.environ, **workspace.environment(), **pod},
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    error = RankError.from_json((run_dir / "error-0.json").read_text())
    assert (error.reason, error.retryable) == ("OutOfMemory", False), error.traceback
    assert error.peak_memory is not None
    assert error.peak_memory > 100 * 2**20, "torch alone takes more"
    outcome = Outcome.from_json((tmp_path / "termination").read_text())
    assert (outcome.result, outcome.reason, outcome.retryable, outcome.rank) == ("failed", "OutOfMemory", False, 0)
    said, measured, estimated, *_ = outcome.message.splitlines()
    assert "can't allocate memory" in said
    assert measured == f"measured: rank 0 took {error.peak_memory / 2**30:.1f} GiB of main memory at most"
    assert estimated.startswith("estimated: ")
    assert "logits" in estimated, "they are what was too much"
    kept = workspace.output("train") / records.STATE_DIR / records.OUTCOME_FILE.format(attempt=1, node_rank=0)
    assert json.loads(kept.read_text())["message"] == outcome.message
