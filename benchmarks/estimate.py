"""The estimate of `finetune estimate` beside the measured peak of tensor bytes, shape by shape.

    python -m benchmarks.estimate                  all shapes, on the CPU; on a GPU where there is one
    python -m benchmarks.estimate --only ZeRO-3    shapes whose name holds this

Each shape is a run of our own trainer in processes of its own: a model of random weights, two steps, so that the
optimiser has its states when the second begins. The peak is the largest of all ranks'. Shapes marked `held out` were
measured only after the formulas were written down. The estimate is without what PyTorch does not see (context,
fragmentation), as the measurement is.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from benchmarks.estimate_shapes import SHAPES, Shape
from dev.environment import ROOT

from finetune_trainer import config
from finetune_trainer.sizing import Machine, config_json, estimate

TOKENIZER = ROOT / "tests" / "conformance" / "tokenizer"
_PATH = os.pathsep.join(str(ROOT / part) for part in ("operator", "trainer_image", "."))
GOAL = 0.10


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A shape, estimated and measured; bytes."""

    shape: Shape
    estimated: float
    moment: str
    measured: float
    rss: float

    @property
    def ratio(self) -> float:
        """Estimated to measured."""
        return self.estimated / self.measured

    def line(self) -> str:
        """For the table."""
        held = "held out" if self.shape.held_out else ""
        return (
            f"{self.shape.name:40} {self.estimated / 1e9:9.2f} {self.measured / 1e9:9.2f} {self.rss / 1e9:6.1f}"
            f" {self.ratio:7.3f}  {held:8}  {self.moment}"
        )


def measure(shape: Shape, folder: Path) -> Row:
    """Estimate, then train.

    Raises:
        RuntimeError: the training failed; the end of what it said.
    """
    cfg_path = write(shape, folder)
    cfg = config.load(cfg_path)
    model = config_json.read(shape.model)
    on = Machine(processes=shape.ranks, gpu=_gpu())
    found = estimate(cfg, model, on)
    peaks = run(cfg_path, folder / "peak.json", shape.ranks)
    return Row(
        shape=shape,
        estimated=found.total - found.peak.overhead,
        moment=found.moment,
        measured=max(peak["tensors"] for peak in peaks),
        rss=max(peak["rss"] for peak in peaks),
    )


def write(shape: Shape, folder: Path) -> Path:
    """The model's folder, rows, and train.yaml."""
    model, data = folder / "model", folder / "data"
    shutil.copytree(TOKENIZER, model)
    (model / "config.json").write_text(json.dumps(shape.model))
    data.mkdir()
    rows, entry = _documents() if shape.data == "documents" else _talks()
    (data / "rows.json").write_text(json.dumps(rows))
    (data / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json", **entry}}))
    keys = {
        "stage": "pt", "do_train": True, "model_name_or_path": str(model), "train_from_scratch": True,
        "template": "default", "dataset": "rows", "dataset_dir": str(data), "output_dir": str(folder / "saved"),
        "max_steps": 2, "logging_steps": 1, "save_strategy": "no", "report_to": "none", "use_cpu": not _gpu(),
        "disable_shuffling": True, **shape.keys,
    }  # fmt: skip
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(keys))
    return path


def run(cfg: Path, said: Path, ranks: int) -> list[dict[str, Any]]:
    """What each rank says of its peaks.

    Raises:
        RuntimeError: the training failed.
    """
    launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={ranks}", f"--master-port={_free_port()}"]
    command = [sys.executable, *(launcher if ranks > 1 else []), "-m", "benchmarks.estimate_side", str(cfg), str(said)]
    environment = {
        **os.environ,
        "PYTHONPATH": _PATH,
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(said.parent / "cache"),
    }
    environment.setdefault("OMP_NUM_THREADS", "1")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{cfg}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
    return [json.loads(said.with_stem(f"{said.stem}-{rank}").read_text()) for rank in range(ranks)]


def summary(rows: Sequence[Row]) -> str:
    """The worst case, and whether every shape is within the goal."""
    worst = max(rows, key=lambda row: abs(row.ratio - 1))
    small = [row.shape.name for row in rows if row.measured < 3e9]
    within = sum(abs(row.ratio - 1) <= GOAL for row in rows)
    lines = [f"{within} of {len(rows)} within {GOAL:.0%}; worst: {worst.shape.name}, {worst.ratio:.3f}"]
    if small:
        lines.append(f"below 3 GB: {', '.join(small)}")
    return "\n".join(lines)


def _documents() -> tuple[list[dict[str, str]], dict[str, Any]]:
    rows = [{"text": " ".join(f"word{number * 7 + place}" for place in range(4000))} for number in range(8)]
    return rows, {"columns": {"prompt": "text"}}


def _talks() -> tuple[list[dict[str, str]], dict[str, Any]]:
    """Answers of which one in three is longer than every cutoff_len."""
    lengths = [4000 if number % 3 == 0 else 60 for number in range(48)]
    rows = [
        {"instruction": "Go on.", "input": "", "output": " ".join(f"word{place}" for place in range(length))}
        for length in lengths
    ]
    return rows, {}


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="shapes whose name holds this")
    said = parser.parse_args(arguments)
    print(f"{'shape':40} {'estimate':>9} {'measured':>9} {'RSS':>6} {'ratio':>7}  {'':8}  moment", flush=True)
    rows = []
    for shape in (one for one in SHAPES if said.only in one.name):
        with tempfile.TemporaryDirectory(prefix="estimate-") as scratch:
            rows.append(measure(shape, Path(scratch)))
        print(rows[-1].line(), flush=True)
    print(summary(rows))


if __name__ == "__main__":
    main()
