"""What a checkpoint costs the training that goes on, and how long a job stands still when a pod dies.

    python -m benchmarks.recovery
    python -m benchmarks.recovery --only save
    python -m benchmarks.recovery --rounds 1 --rows 1 --length 64

SmolLM2-135M, all parameters in float32: a checkpoint of 1.6 GB, fsync included. One run whose windows of steps each
begin with a save, ours and transformers' own in turn. What a save costs is what the steps of a window's first half, in
which it is written, take longer than those of the second halves around it: a machine's speed drifts, and neighbours
drift together. Told with it: the seconds that training stood still for a save (the copy, and the commit), and those of
the thread. transformers' own save does not wait for the disk.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from benchmarks import parity_models, recovery_cluster
from benchmarks.parity import environment
from benchmarks.recovery_side import KINDS, WARM
from dev import peer
from tests.cluster.harness import machine

RESTARTS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Seconds of steps, the first of them with the save before it."""

    first: Sequence[float]
    rest: Sequence[float]


def keys(model: Path, steps: int, rows: int, length: int) -> dict[str, Any]:
    """train.yaml of the run."""
    return {
        "stage": "sft", "do_train": True, "model_name_or_path": str(model), "template": "default",
        "dataset": "alpaca_en_demo", "dataset_dir": str(peer.demo_data()), "cutoff_len": length, "packing": True,
        "per_device_train_batch_size": rows, "max_steps": WARM + steps, "logging_steps": 10, "save_strategy": "no",
        "save_total_limit": 1, "report_to": "none", "lr_scheduler_type": "constant", "learning_rate": 1.0e-5,
        "use_cpu": True, "overwrite_output_dir": True, "finetuning_type": "full",
    }  # fmt: skip


def table(figures: Mapping[str, Any], every: int) -> str:
    """A line for each kind: what a save each `every` steps would cost.

    Raises:
        RuntimeError: a thread wrote on in the second half of its window, so that there is nothing to compare with.
    """
    windows = [Window(first=steps[: len(steps) // 2], rest=steps[len(steps) // 2 :]) for steps in figures["windows"]]
    plain = statistics.mean(second for window in windows for second in window.rest)
    lines = [f"{'none':7} {plain:6.3f} s a step"]
    for place, kind in enumerate(KINDS):
        saves = [save for save in figures["saves"] if save["kind"] == kind]
        if any(save.get("thread", 0) > sum(windows[0].first) for save in saves):
            raise RuntimeError("a save was still written in the second half of its window: take a longer --window")
        extra = [_extra(windows, at) for at in range(place, len(windows), len(KINDS))]
        mean = statistics.mean(extra)
        error = statistics.stdev(extra) / len(extra) ** 0.5 if len(extra) > 1 else float("nan")
        share = f"{100 * mean / every / plain:+.1f} %"
        still = _mean(saves, "main") + _mean(saves, "commit")
        line = f"{kind:7} {plain + mean / every:6.3f} s a step at a save each {every} ({share})  "
        line += f"a save costs {mean:.2f} +- {error:.2f} s, stood still {still:.2f} s"
        lines.append(line + (f", thread {_mean(saves, 'thread'):.2f} s" if "thread" in saves[0] else ""))
    written = [save["bytes"] for save in figures["saves"] if "bytes" in save]
    return "\n".join([*lines, f"checkpoint {statistics.mean(written) / 1e9:.3f} GB"])


def _extra(windows: Sequence[Window], at: int) -> float:
    """Seconds that a save adds to its window."""
    around = [second for window in windows[max(at - 1, 0) : at + 1] for second in window.rest]
    return sum(windows[at].first) - len(windows[at].first) * statistics.mean(around)


def _mean(saves: Sequence[Mapping[str, float]], name: str) -> float:
    return statistics.mean(save.get(name, 0.0) for save in saves)


def measure(config: Mapping[str, Any], window: int, folder: Path) -> dict[str, Any]:
    """The run, in a process of its own.

    Raises:
        RuntimeError: it failed; its last words.
    """
    path, figures = folder / "train.yaml", folder / "figures.json"
    path.write_text(yaml.safe_dump({**config, "output_dir": str(folder / "output")}), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.recovery_side", str(path), str(window), str(figures)]
    done = subprocess.run(command, env=environment("ours"), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(figures.read_text(encoding="utf-8"))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6, help="windows of each kind")
    parser.add_argument("--window", type=int, default=10, help="steps of a window")
    parser.add_argument("--every", type=int, default=20, help="steps between saves, for the share that they cost")
    parser.add_argument("--model", choices=tuple(parity_models.MODELS), default="smollm2")
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--length", type=int, default=256)
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
        steps = said.rounds * said.window * len(KINDS)
        figures = measure(keys(model, steps, said.rows, said.length), said.window, Path(scratch))
        print(table(figures, said.every), flush=True)


if __name__ == "__main__":
    main()
