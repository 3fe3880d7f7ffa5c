"""Starting runs of a tiny model as users do: a YAML file, one process or torchrun, on CPUs over gloo."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.tiny_model import make_rows, make_tiny_model, write_dataset
from tests.training import forked

ROOT = Path(__file__).parent.parent.parent
ROWS = 150  # 19 steps of 8 rows in an epoch, the last one of 6: an epoch's end is where splits usually differ
SETTINGS: dict[str, Any] = {
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "full",
    "dataset": "words",
    "template": "llama3",
    "cutoff_len": 128,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "learning_rate": 3.0e-3,
    "lr_scheduler_type": "linear",
    "warmup_ratio": 0.1,
    "num_train_epochs": 2.0,
    "logging_steps": 1,
    "save_steps": 10,
    "seed": 7,
    "use_cpu": True,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Workspace:
    """A folder with a tiny model and a data set, where runs put their outputs."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, *, rows: int = ROWS) -> Workspace:
        """Make model and data."""
        make_tiny_model(folder / "model")
        write_dataset(folder / "data", make_rows(rows))
        return cls(folder=folder)

    def output(self, name: str) -> Path:
        """The output_dir of a run."""
        return self.folder / "saves" / name

    def settings(self, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """train.yaml of a run."""
        places = {"model_name_or_path": self.folder / "model", "dataset_dir": self.folder / "data"}
        texts = {key: str(value) for key, value in {**places, "output_dir": self.output(name)}.items()}
        return {**SETTINGS, **texts, **changes}

    def config(self, name: str, changes: Mapping[str, Any]) -> Path:
        """Write train.yaml of a run."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(self.settings(name, changes)), encoding="utf-8")
        return path

    def run(
        self,
        *configs: Path,
        ranks: int = 1,
        environment: Mapping[str, str] | None = None,
        check: bool = True,
        python: Path | str = sys.executable,
    ) -> subprocess.CompletedProcess[str]:
        """Run one configuration after the other on one rank, or one on several; `python` may be another stack's."""
        everything = {**os.environ, **self.environment(), **(environment or {})}
        if environment is None and python == sys.executable and forked.suits(configs):
            done = forked.run(configs, everything, ranks=ranks, port=free_port(), folder=self.folder / "printed")
        else:
            launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={ranks}", f"--master-port={free_port()}"]
            done = subprocess.run(
                [python, *(launcher if ranks > 1 else []), Path(__file__).parent / "rank.py", *configs],
                env=everything,
                capture_output=True,
                text=True,
                timeout=forked.LIMIT,
                check=False,
            )
        assert not check or done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done

    def leave_checkpoint(self, name: str, *, of: str, step: int) -> Path:
        """What a killed run leaves for one that goes on: the checkpoint of another, and nothing after it."""
        folder = self.output(name) / f"checkpoint-{step}"
        return Path(shutil.copytree(self.output(of) / folder.name, folder))

    def losses(self, name: str) -> dict[int, float]:
        """Step -> loss, unrounded, from a run's trainer_log.jsonl."""
        lines = (self.output(name) / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
        return {entry["current_steps"]: entry["loss"] for entry in map(json.loads, lines) if "loss" in entry}

    def gradient_norms(self, name: str) -> dict[int, float]:
        """Step -> norm of the gradient before it is clipped, from a run's trainer_state.json."""
        state = json.loads((self.output(name) / "trainer_state.json").read_text(encoding="utf-8"))
        return {entry["step"]: entry["grad_norm"] for entry in state["log_history"] if "grad_norm" in entry}

    def environment(self) -> dict[str, str]:
        """What a rank needs: our own modules, no hub, one thread."""
        return {
            "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("operator", "trainer_image", ".")),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",  # the tiny model gains nothing by more, and CI's cores are few
            "HF_DATASETS_CACHE": str(self.folder / "cache"),
        }


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
