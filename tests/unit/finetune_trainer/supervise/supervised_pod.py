"""A pod on this machine: configuration folder, run folder, volume, and the supervisor as a real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune_trainer import records
from finetune_trainer.records import Outcome, RunSpec

SUPERVISOR = """
import logging, os, sys
from finetune_trainer.supervise import supervise
logging.basicConfig(format="supervise: %(message)s", level=logging.INFO)
sys.exit(supervise(os.environ, command=lambda run, where, config: [sys.executable, os.environ["FAKE"]]))
"""
RANKS = """
import os, sys, time
from pathlib import Path
from finetune_trainer.records import *
run_dir = Path(os.environ["FINETUNE_RUN_DIR"])
def leave(name, record):
    new = run_dir / (name + ".new")
    new.write_text(record.to_json())
    new.replace(run_dir / name)
def beat(local_rank=0, step=0, phase="training"):
    leave(f"heartbeat-{local_rank}.json", Heartbeat(time=time.time(), phase=phase, step=step))
"""
"""What every fake launcher begins with: it plays the ranks too."""


def until(true: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait for something that will come; fail when it does not."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.01)


@dataclass
class Pod:
    root: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.config, self.run, self.output = self.root / "config", self.root / "run", self.root / "output"
        self.log = self.root / "log"
        self.config.mkdir(parents=True)
        self.environment = {
            "PET_NNODES": "1",
            "PET_NPROC_PER_NODE": "1",
            "PET_NODE_RANK": "0",
            records.ENV_CONFIG_DIR: str(self.config),
            records.ENV_RUN_DIR: str(self.run),
            records.ENV_ATTEMPT: "3",
            records.ENV_TERMINATION_LOG: str(self.root / "termination"),
        }
        self.configure()

    def configure(self, **changes: Any) -> None:
        run = {
            "contract": records.CONTRACT_VERSION,
            "namespace": "team",
            "job": "demo",
            "uid": "u-1",
            "spec_hash": "abc",
            "nodes": 1,
            "processes_per_node": 1,
            "launcher": "torchrun",
            "output_dir": str(self.output),
            "overwrite_output_dir": False,
            "hang_timeout_seconds": 600,
            "grace_seconds": 60,
        }
        (self.config / "run.json").write_text(json.dumps(run | changes))
        (self.config / "train.yaml").write_text("stage: sft\n")

    @property
    def spec(self) -> RunSpec:
        return RunSpec.from_json((self.config / "run.json").read_text())

    def start(self, ranks: str, *, within: Sequence[str] = (), **environment: str) -> subprocess.Popen[bytes]:
        """Start the supervisor, under another program if need be, with a launcher that runs `ranks`."""
        fake = self.root / "fake.py"
        fake.write_text(RANKS + ranks)
        return self.start_supervisor([*within, sys.executable, "-c", SUPERVISOR], FAKE=str(fake), **environment)

    def start_supervisor(self, argv: list[str], **environment: str) -> subprocess.Popen[bytes]:
        paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                argv, env=os.environ | paths | self.environment | environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.started.append(process)
        return process

    def outcome(self, ranks: str, **environment: str) -> tuple[int, Outcome]:
        """Run to the end: the exit code and the termination message."""
        code = self.start(ranks, **environment).wait(60)
        return code, self.message

    @property
    def message(self) -> Outcome:
        return Outcome.from_json((self.root / "termination").read_text())

    @property
    def on_volume(self) -> Outcome:
        return Outcome.from_json((self.output / ".finetune" / "outcome-3-0.json").read_text())
