"""The same training, ours beside LLaMA-Factory 0.9.5: both series of losses, and how far apart they are.

    python -m benchmarks.parity                          every method, on the tiny model and on SmolLM2
    python -m benchmarks.parity --models tiny            some minutes
    python -m benchmarks.parity --methods dpo-orpo kto   some of them
    python -m benchmarks.parity --series                 with all losses of both

Each side trains 20 steps in its own environment and process, in float32 on the CPU, from the same weights (also of
adapters and value heads), on the same rows of LLaMA-Factory's demo data in the same order. The figure is the largest
difference of a step's losses, relative to LLaMA-Factory's. A row over 1e-3 says why in `why`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from benchmarks import parity_models
from dev import peer

TOLERANCE = 1e-3
STEPS = 20
COMMON: dict[str, Any] = {
    "do_train": True,
    "template": "default",
    "cutoff_len": 128,
    "max_samples": 60,
    "disable_shuffling": True,
    "disable_gradient_checkpointing": True,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "learning_rate": 1.0e-4,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 2,
    "max_steps": STEPS,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "overwrite_output_dir": True,
}
LORA = {"finetuning_type": "lora", "learning_rate": 1.0e-3}
SFT = {"stage": "sft", "dataset": "alpaca_en_demo"}
DPO = {"stage": "dpo", "dataset": "dpo_en_demo", **LORA}


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """One line of the table."""

    name: str
    keys: Mapping[str, Any]
    adapter: Mapping[str, Any] | None = None
    """How the adapter is made from which both sides begin (keys of peft's configuration); None: no adapter."""
    why: Mapping[str, str] = field(default_factory=dict)
    """Model, or `all` -> why the sides differ, and who is right."""


METHODS = (
    Method(name="sft-full", keys={**SFT, "finetuning_type": "full"}),
    Method(name="sft-full-accumulated", keys={**SFT, "finetuning_type": "full", "gradient_accumulation_steps": 2}),
    Method(name="sft-freeze", keys={**SFT, "finetuning_type": "freeze", "freeze_trainable_layers": 1}),
    Method(name="sft-lora", keys={**SFT, **LORA}, adapter={}),
    Method(name="sft-dora", keys={**SFT, **LORA, "use_dora": True}, adapter={"use_dora": True}),
    Method(name="sft-rslora", keys={**SFT, **LORA, "use_rslora": True}, adapter={"use_rslora": True}),
    Method(name="sft-loraplus", keys={**SFT, **LORA, "loraplus_lr_ratio": 16.0}, adapter={}),
    Method(name="sft-oft", keys={**SFT, **LORA}, adapter={"oft_block_size": 8}),
    Method(name="sft-packing", keys={**SFT, "finetuning_type": "full", "packing": True, "cutoff_len": 512}),
    Method(name="sft-neat_packing", keys={**SFT, "finetuning_type": "full", "neat_packing": True, "cutoff_len": 512}),
    Method(name="sft-neftune-off", keys={**SFT, "finetuning_type": "full", "neftune_noise_alpha": 0.0}),
    Method(name="sft-dft", keys={**SFT, "finetuning_type": "full", "use_dft_loss": True}),
    Method(name="sft-eaft", keys={**SFT, "finetuning_type": "full", "use_eaft_loss": True}),
    Method(name="sft-asft", keys={**SFT, "finetuning_type": "full", "use_asft_loss": True}),
    Method(
        name="pt",
        keys={"stage": "pt", "dataset": "c4_demo", "finetuning_type": "full"},
        why={
            "all": "ours is right: LLaMA-Factory divides by all labels, also each block's first, which nobody "
            "predicts; times (n - 1) / n the series are the same"
        },
    ),
    Method(name="rm", keys={"stage": "rm", "dataset": "dpo_en_demo", **LORA}, adapter={}),
    Method(name="dpo-sigmoid", keys={**DPO}, adapter={}),
    Method(name="dpo-orpo", keys={**DPO, "pref_loss": "orpo"}, adapter={}),
    Method(name="dpo-simpo", keys={**DPO, "pref_loss": "simpo"}, adapter={}),
    Method(name="dpo-ftx", keys={**DPO, "pref_ftx": 0.5}, adapter={}),
    Method(name="dpo-bco", keys={**DPO, "pref_bco_weight": 0.5}, adapter={}),
    Method(name="dpo-ld", keys={**DPO, "ld_alpha": 0.5}, adapter={}),
    Method(name="dpo-full", keys={**DPO, "finetuning_type": "full", "learning_rate": 1.0e-4}),
    Method(name="kto", keys={"stage": "kto", "dataset": "kto_en_demo", **LORA}, adapter={}),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """The losses of both sides, by step; or what went wrong."""

    ours: Sequence[float]
    theirs: Sequence[float]
    fault: str = ""

    @property
    def difference(self) -> float:
        """Largest difference of a step, relative to theirs; infinite where a step is missing."""
        if len(self.ours) != STEPS or len(self.theirs) != STEPS:
            return float("inf")
        return max(
            abs(mine - other) / max(abs(other), 1e-6) for mine, other in zip(self.ours, self.theirs, strict=True)
        )


def compare(method: Method, model: Path, folder: Path, *, rate: float) -> Compared:
    """Train on both sides."""
    keys = {**COMMON, **method.keys, "model_name_or_path": str(model), "dataset_dir": str(peer.demo_data())}
    keys["learning_rate"] = keys["learning_rate"] * rate
    if method.adapter is not None:
        keys["adapter_name_or_path"] = str(parity_models.adapter(model, folder, method.adapter))
    python = {
        "ours": [sys.executable, "-m", "finetune_trainer"],
        "theirs": [peer.environment(), "-m", "llamafactory.cli"],
    }
    losses: dict[str, list[float]] = {}
    for side, command in python.items():
        output = folder / f"{method.name}-{side}"
        path = folder / f"{method.name}-{side}.yaml"
        path.write_text(yaml.safe_dump({**keys, "output_dir": str(output)}), encoding="utf-8")
        done = subprocess.run(
            [*map(str, command), "train", str(path)],
            env=environment(side),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
            return Compared(ours=losses.get("ours", []), theirs=[], fault=f"{side}: {''.join(last)}")
        losses[side] = series(output)
    return Compared(ours=losses["ours"], theirs=losses["theirs"])


def series(output: Path) -> list[float]:
    """Each step's loss, from trainer_state.json, which both sides write."""
    state = json.loads((output / "trainer_state.json").read_text(encoding="utf-8"))
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


def environment(side: str) -> dict[str, str]:
    """The peer sees nothing of our checkout."""
    kept = {name: value for name, value in os.environ.items() if side != "theirs" or not name.startswith("PYTHON")}
    return kept | {
        "HF_HUB_OFFLINE": "1",
        "TQDM_DISABLE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "DISABLE_VERSION_CHECK": "1",
    }


def line(model: str, method: Method, found: Compared) -> str:
    """One row of the table."""
    ends = [f"{one[0]:.4f} {one[-1]:.4f}" if one else "-" for one in (found.ours, found.theirs)]
    agrees = "yes" if found.difference < TOLERANCE else "NO"
    why = found.fault or (method.why.get(model) or method.why.get("all", "") if agrees == "NO" else "")
    return f"{model:8} {method.name:22} {ends[0]:>17} {ends[1]:>17} {found.difference:10.1e}  {agrees:4} {why}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 when a difference has no explanation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=tuple(parity_models.MODELS), default=list(parity_models.MODELS))
    parser.add_argument("--methods", nargs="+", choices=[method.name for method in METHODS])
    parser.add_argument("--series", action="store_true")
    said = parser.parse_args(arguments)
    unexplained = False
    print(f"{'model':8} {'method':22} {'ours first last':>17} {'theirs':>17} {'difference':>10}  same why")
    with tempfile.TemporaryDirectory(prefix="parity-") as scratch:
        for model in said.models:
            folder = Path(scratch) / model
            base = parity_models.MODELS[model](folder / "base")
            for method in METHODS:
                if said.methods and method.name not in said.methods:
                    continue
                found = compare(method, base, folder, rate=parity_models.RATES[model])
                told = line(model, method, found)
                unexplained |= "  NO " in told and not (method.why and not found.fault)
                print(told, flush=True)
                if said.series:
                    print("    ours  ", *(f"{loss:.6f}" for loss in found.ours))
                    print("    theirs", *(f"{loss:.6f}" for loss in found.theirs), flush=True)
    return int(unexplained)


if __name__ == "__main__":
    sys.exit(main())
