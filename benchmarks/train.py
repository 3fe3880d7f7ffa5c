"""How fast a training is, ours beside transformers' bare Trainer and LLaMA-Factory 0.9.5, and in how much memory.

    python -m benchmarks.train                     SmolLM2-135M, packed 4 x 512 tokens a step, on the CPU
    python -m benchmarks.train --steps 20 --methods lora --dtype fp32

and, before that, how long each side takes from its process's start to the end of a first step of one short row.

Each side is a process of its own, one after the other, with the same rows (packed before, for the bare loop) and the
same settings; the order of sides is turned around in every repeat, and the table gives medians. tokens/s is all tokens
of all steps but the first over the time between the first and the last step's line in the log; `first step` is from
the process's start to that line. Memory is the largest resident set of the process.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from benchmarks import parity_models
from benchmarks.parity import environment
from dev import peer

ROWS, LENGTH = 4, 512
SIDES = ("ours", "bare", "theirs")
METHODS: Mapping[str, Mapping[str, Any]] = {
    "lora": {"finetuning_type": "lora", "lora_rank": 16, "learning_rate": 1.0e-4},
    "full": {"finetuning_type": "full", "learning_rate": 1.0e-5},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One run of one side."""

    tokens_per_second: float
    first_step: float
    """Seconds from the process's start to the first step's end."""
    peak: float
    """GB."""


def keys(method: str, dtype: str, steps: int, model: Path) -> dict[str, Any]:
    """train.yaml for all sides. Nothing is said of gradient checkpointing: each side does as it does."""
    return {
        "stage": "sft", "do_train": True, "model_name_or_path": str(model), "template": "default",
        "dataset": "alpaca_en_demo,identity", "dataset_dir": str(peer.demo_data()), "cutoff_len": LENGTH,
        "packing": True, "disable_shuffling": True,
        "per_device_train_batch_size": ROWS, "max_steps": steps, "logging_steps": 1, "save_strategy": "no",
        "report_to": "none", "lr_scheduler_type": "constant", "use_cpu": True, "overwrite_output_dir": True,
        "bf16": dtype == "bf16", **METHODS[method],
    }  # fmt: skip


def start(model: Path) -> dict[str, Any]:
    """train.yaml of a step that takes no time."""
    short = {"cutoff_len": 64, "packing": False, "per_device_train_batch_size": 1}
    return {**keys("lora", "fp32", 2, model), **short, "dataset": "identity"}


def measure(side: str, config: Mapping[str, Any], folder: Path) -> Measured:
    """Run one side in a process of its own and watch its log.

    Raises:
        RuntimeError: it failed; its last words.
    """
    output = folder / f"{side}-{time.monotonic_ns()}"
    path = output.with_suffix(".yaml")
    path.write_text(yaml.safe_dump({**config, "output_dir": str(output)}), encoding="utf-8")
    command = {
        "ours": [sys.executable, "-m", "finetune_trainer", "train"],
        "bare": [sys.executable, "-m", "benchmarks.train_bare"],
        "theirs": [peer.environment(), "-m", "llamafactory.cli", "train"],
    }[side]
    with output.with_suffix(".log").open("w") as log:
        started = time.monotonic()
        process = subprocess.Popen([*map(str, command), str(path)], env=environment(side), stdout=log, stderr=log)
        times, usage = _watch(process.pid, output / "trainer_log.jsonl")
    if usage is None:
        raise RuntimeError(f"{side}: {output.with_suffix('.log').read_text()[-2000:]}")
    return Measured(
        tokens_per_second=ROWS * LENGTH * (len(times) - 1) / (times[-1] - times[0]),
        first_step=times[0] - started,
        peak=usage.ru_maxrss / 1e6,
    )


def _watch(pid: int, log: Path) -> tuple[list[float], resource.struct_rusage | None]:
    """When each step's line in the log was seen, to 10 ms; and what the process used, None when it failed.

    LLaMA-Factory writes one more line at its end, without a loss.
    """
    times: list[float] = []
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        steps = log.read_text().count('"loss"') if log.exists() else 0
        times += [time.monotonic()] * (steps - len(times))
        if ended:
            return times, None if status else usage
        time.sleep(0.01)


def table(method: str, dtype: str, runs: Mapping[str, Sequence[Measured]]) -> str:
    """Three lines, with ratios to the bare loop and to LLaMA-Factory."""
    speed = {side: statistics.median(run.tokens_per_second for run in found) for side, found in runs.items()}
    lines = []
    for side, found in runs.items():
        ratios = "  ".join(f"{speed[side] / speed[other]:5.2f}x {other}" for other in runs if other != side)
        first = statistics.median(run.first_step for run in found)
        peak = max(run.peak for run in found)
        figures = f"{speed[side]:7.0f} tokens/s  {peak:5.2f} GB  {first:5.1f} s to the first step"
        lines.append(f"{method:5} {dtype:5} {side:7} {figures}  {ratios}")
    return "\n".join(lines)


def compare(config: Mapping[str, Any], repeats: int, folder: Path) -> dict[str, list[Measured]]:
    """All sides, turn about."""
    runs: dict[str, list[Measured]] = {side: [] for side in SIDES}
    for repeat in range(repeats):
        for side in SIDES if repeat % 2 == 0 else reversed(SIDES):
            runs[side].append(measure(side, config, folder))
    return runs


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), default=list(METHODS))
    parser.add_argument("--dtype", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    said = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="train-") as scratch:
        model = parity_models.MODELS["smollm2"](Path(scratch) / "model")
        for side, found in compare(start(model), said.repeats, Path(scratch)).items():
            seconds = statistics.median(run.first_step for run in found)
            print(f"start {side:7} {seconds:5.1f} s to the end of the first step", flush=True)
        for method in said.methods:
            for dtype in said.dtype:
                runs = compare(keys(method, dtype, said.steps, model), said.repeats, Path(scratch))
                print(table(method, dtype, runs), flush=True)


if __name__ == "__main__":
    main()
