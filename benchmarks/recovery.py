"""What a checkpoint costs the training that goes on, and how long a job stands still when a pod dies.

    python -m benchmarks.recovery
    python -m benchmarks.recovery --only save
    python -m benchmarks.recovery --rounds 1 --rows 1 --length 64

SmolLM2-135M, all parameters in float32: a checkpoint of 1.6 GB, fsync included. One run in which blocks of steps take
turns: a block without a save, one with ours before its first step, one with transformers' own there, so that whatever
else the machine does falls on all three. Figures are the mean step of each kind's blocks, the seconds that training
stood still for a save (the copy, and the commit with its rotation), and those of the thread. transformers' own save
does not wait for the disk.

Then a tiny model on the two-node test cluster (recovery_cluster): one worker is killed, three times.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from benchmarks import parity_models, recovery_cluster
from benchmarks.parity import environment
from benchmarks.recovery_side import KINDS, WARM
from dev import peer
from tests.cluster.harness import machine

RESTARTS = 3


def keys(model: Path, steps: int, rows: int, length: int) -> dict[str, Any]:
    """train.yaml of the run."""
    return {
        "stage": "sft", "do_train": True, "model_name_or_path": str(model), "template": "default",
        "dataset": "alpaca_en_demo", "dataset_dir": str(peer.demo_data()), "cutoff_len": length, "packing": True,
        "per_device_train_batch_size": rows, "max_steps": WARM + steps, "logging_steps": 10, "save_strategy": "no",
        "save_total_limit": 1, "report_to": "none", "lr_scheduler_type": "constant", "learning_rate": 1.0e-5,
        "use_cpu": True, "overwrite_output_dir": True, "finetuning_type": "full",
    }  # fmt: skip


def table(figures: Mapping[str, Any]) -> str:
    """A line for each kind."""
    lines, plain = [], 0.0
    for kind in KINDS:
        steps = [seconds for name, seconds in figures["steps"] if name == kind]
        saves = [save for save in figures["saves"] if save["kind"] == kind]
        mean = statistics.mean(steps)
        plain = plain or mean
        more = f"{100 * (mean / plain - 1):+5.1f} %"
        line = f"{kind:7} {mean:6.3f} s a step ({more}), median {statistics.median(steps):.3f}"
        if saves:
            line += f"  stood still {_mean(saves, 'main') + _mean(saves, 'commit'):5.2f} s a save"
        if saves and "thread" in saves[0]:
            line += f" (commit {_mean(saves, 'commit'):.2f})  thread {_mean(saves, 'thread'):5.2f} s"
        lines.append(line)
    written = [save["bytes"] for save in figures["saves"] if "bytes" in save]
    return "\n".join([*lines, f"checkpoint {statistics.mean(written) / 1e9:.3f} GB"])


def _mean(saves: Sequence[Mapping[str, float]], name: str) -> float:
    return statistics.mean(save.get(name, 0.0) for save in saves)


def measure(config: Mapping[str, Any], every: int, folder: Path) -> dict[str, Any]:
    """The run, in a process of its own.

    Raises:
        RuntimeError: it failed; its last words.
    """
    path, figures = folder / "train.yaml", folder / "figures.json"
    path.write_text(yaml.safe_dump({**config, "output_dir": str(folder / "output")}), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.recovery_side", str(path), str(every), str(figures)]
    done = subprocess.run(command, env=environment("ours"), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(figures.read_text(encoding="utf-8"))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="blocks of each kind")
    parser.add_argument("--every", type=int, default=20, help="steps of a block: one save for so many")
    parser.add_argument("--model", choices=tuple(parity_models.MODELS), default="smollm2")
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--only", choices=("save", "restart"), help="one half of it")
    said = parser.parse_args(arguments)
    if said.only != "restart":
        _save(said)
    if said.only != "save":
        reason = machine.missing_rights()
        print(f"no cluster here: {reason}" if reason else recovery_cluster.table(recovery_cluster.measure(RESTARTS)))


def _save(said: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="recovery-") as scratch:
        model = parity_models.MODELS[said.model](Path(scratch) / "model")
        steps = said.rounds * said.every * len(KINDS)
        print(table(measure(keys(model, steps, said.rows, said.length), said.every, Path(scratch))), flush=True)


if __name__ == "__main__":
    main()
