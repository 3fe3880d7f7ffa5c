"""What users do without a cluster, `finetune run` and `finetune chat`, to compare with the cluster's results."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from . import jobs
from .harness.layout import CHECKOUT

LIMIT = 900


def losses_of(manifest: dict[str, Any], claims: Mapping[str, Path], folder: Path) -> dict[int, float]:
    """Train a manifest on this machine by `finetune run`, and read its losses by step.

    Args:
        manifest: as for the cluster; its overlay is left out, since its paths are those of pods.
        claims: folders for the claims that it reads.
        folder: an empty one, for everything that the run writes.
    """
    path = folder / "job.yaml"
    spec = {key: value for key, value in manifest["spec"].items() if key != "podTemplate"}
    path.write_text(yaml.safe_dump({**manifest, "spec": spec}), encoding="utf-8")
    given = [f"--claim={name}={source}" for name, source in claims.items()]
    finetune("run", str(path), f"--workdir={folder / 'work'}", *given)
    found = [
        *folder.rglob("trainer_log.jsonl"),
        *(log for source in claims.values() for log in _logs(source, manifest)),
    ]
    return jobs.losses(found[0].parent)


def answer(model: Path, prompt: str, *, adapter: Path | None = None) -> str:
    """What a model says, greedily, with an adapter or without."""
    options = ["--adapter", str(adapter)] if adapter else []
    return finetune("chat", str(model), "--prompt", prompt, *options).strip()


def finetune(*arguments: str) -> str:
    """Run the program; returns what it prints."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{CHECKOUT / 'operator'}:{CHECKOUT / 'trainer_image'}",
        "OMP_NUM_THREADS": "1",  # as in the pods: another number of threads adds up in another order
    }
    command = [sys.executable, "-m", "finetune_trainer", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def _logs(claim: Path, manifest: dict[str, Any]) -> list[Path]:
    """The log of this job on a claim that is read and written."""
    return sorted(claim.glob(f"default/{manifest['metadata']['name']}/**/trainer_log.jsonl"))
