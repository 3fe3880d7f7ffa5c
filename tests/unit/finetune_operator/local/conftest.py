"""A job on this machine, with a small program in the place of `finetune`."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from finetune_operator import local, spec
from finetune_operator.local.display import Display
from finetune_operator.settings import Settings

IMPORTS = """
import json, os, pathlib, signal, sys
from finetune_trainer.records import Outcome, Progress
"""
PRELUDE = """
assert sys.argv[1:] == ["supervise"], sys.argv
env = os.environ
node, attempt = int(env["PET_NODE_RANK"]), int(env["FINETUNE_ATTEMPT"])
spec = json.loads((pathlib.Path(env["FINETUNE_CONFIG_DIR"]) / "run.json").read_text())
run_dir = pathlib.Path(env["FINETUNE_RUN_DIR"])
output = pathlib.Path(spec["output_dir"])
output.mkdir(parents=True, exist_ok=True)

def end(result, reason="Completed", message="done", retryable=True):
    outcome = Outcome(result=result, reason=reason, message=message, retryable=retryable, attempt=attempt,
                      node_rank=node, spec_hash=spec["spec_hash"], rank=0, log_tail="the last line")
    pathlib.Path(env["FINETUNE_TERMINATION_LOG"]).write_text(outcome.to_termination_message())
    sys.exit({"succeeded": 0, "stopped": 143}.get(result, 1))
"""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A work folder with one job's data in it."""

    workdir: Path
    script: Path
    said: io.StringIO

    def folders(self, **given: Path) -> local.Folders:
        return local.Folders(workdir=self.workdir, namespace="default", job="tuned", given=given)

    def run(
        self, script: str, *, nodes: int = 1, settings: Settings | None = None, before: str = "", **spec_said: Any
    ) -> int:
        """Run the job with `script` as its supervisor, and `before` as what prepares; the exit code."""
        self.script.write_text(IMPORTS + before + PRELUDE + script, encoding="utf-8")
        request = local.LocalRun(
            job=job(nodes=nodes, **spec_said),
            folders=self.folders(),
            settings=settings or Settings(backoff_seconds=0),
            program=(sys.executable, str(self.script)),
        )
        with Display(Console(file=self.said, width=200)) as display:
            return local.run(request, display)

    @property
    def output(self) -> Path:
        return self.workdir / "claims" / "runs" / "default" / "tuned" / "out"


def job(*, nodes: int = 1, **said: Any) -> spec.FineTuneJob:
    return spec.parse(
        {
            "apiVersion": "finetune.dev/v1alpha1",
            "kind": "FineTuneJob",
            "metadata": {"name": "tuned", "namespace": "default", "uid": "local", "generation": 1},
            "spec": {
                "model": {"uri": "pvc://models/tiny"},
                "datasets": [{"name": "rows", "uri": "pvc://data/rows.json"}],
                "training": {"stage": "sft", "finetuning_type": "full", "template": "qwen", "output_dir": "out"},
                "storage": {"output": {"claimName": "runs"}},
                "resources": {"nodes": nodes},
                **said,
            },
        }
    )


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> Machine:
    monkeypatch.setenv("PYTHONPATH", f"{repository / 'trainer_image'}:{repository / 'operator'}")
    for claim in ("models", "data"):
        (tmp_path / "work" / "claims" / claim).mkdir(parents=True)
    return Machine(workdir=tmp_path / "work", script=tmp_path / "stub.py", said=io.StringIO())


@pytest.fixture
def repository() -> Path:
    return next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())


@pytest.fixture
def make_job() -> Callable[..., spec.FineTuneJob]:
    return job
