"""`finetune run` of a manifest that is made for the cluster, to compare its losses with the cluster's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from . import jobs
from .harness.layout import CHECKOUT

LIMIT = 600


def losses_of(manifest: dict[str, Any], folder: Path) -> dict[int, float]:
    """Train the manifest on this machine by `finetune run`, and read its losses by step."""
    inputs = folder / "shared"
    inputs.mkdir()
    jobs.make_inputs(inputs)
    path = folder / "job.yaml"
    spec = {key: value for key, value in manifest["spec"].items() if key != "podTemplate"}  # its paths are of pods
    path.write_text(yaml.safe_dump({**manifest, "spec": spec}), encoding="utf-8")
    command = [sys.executable, "-m", "finetune_trainer", "run", str(path), f"--workdir={folder / 'work'}"]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{CHECKOUT / 'operator'}:{CHECKOUT / 'trainer_image'}",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [*command, f"--claim=shared={inputs}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    log = next(inputs.rglob("trainer_log.jsonl"))
    return jobs.losses(log.parent)
