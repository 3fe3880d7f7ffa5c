"""A program of its own: DeepSpeed's parts of a checkpoint, one per rank, become files that any number can read.

`python -m finetune_trainer.resize.convert PARTS RESULT WORKERS`, in the checkpoint's folder. Beside a training process
it would hold its memory, and its forks would carry the other ranks' connections.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

MOMENTS = frozenset({"exp_avg", "exp_avg_sq"})
"""What DeepSpeed's universal checkpoint holds of an optimiser: Adam's, and nothing else's."""


def main(words: Sequence[str]) -> None:
    """Convert, and return when all of it is on the disk.

    Raises:
        SystemExit: with words, when the optimiser is not Adam's kind.
    """
    parts, result, workers = Path(words[0]), Path(words[1]), int(words[2])
    stranger = strange(_states(parts))
    if stranger:
        sys.exit(f"the optimiser keeps {stranger}, DeepSpeed's universal checkpoint knows Adam's moments alone")
    from deepspeed.checkpoint import ds_to_universal

    from finetune_trainer.resize import round_robin

    if round_robin.is_used(parts):
        ds_to_universal.DeepSpeedCheckpoint = round_robin.Unshuffled
    ds_to_universal.main(
        Namespace(
            input_folder=str(parts),
            output_folder=str(result),
            num_extract_workers=workers,
            num_merge_workers=workers,
            keep_temp_folder=False,
            strict=True,
            inject_missing_state=True,
        )
    )
    _slim(result / "zero" / "optimizer_state.pt")
    _sync(result)


def strange(states: Mapping[Any, Mapping[str, Any]]) -> str:
    """What an optimiser keeps of a weight, where that is not what Adam keeps; empty when it is."""
    for state in states.values():
        kept = {name for name, value in state.items() if getattr(value, "ndim", 0) > 0}
        if kept != MOMENTS:
            return ", ".join(sorted(kept)) or "nothing"
    return ""


def _states(parts: Path) -> Mapping[Any, Mapping[str, Any]]:
    """The optimiser's state on one rank, without reading the tensors."""
    import torch

    first = min(parts.glob("*_optim_states.pt"))
    held = torch.load(first, map_location="cpu", mmap=True, weights_only=False)["optimizer_state_dict"]
    base = held.get("base_optimizer_state") or held.get("optimizer_state_dict")
    states: Mapping[Any, Mapping[str, Any]] = base["state"]
    return states


def _slim(path: Path) -> None:
    """Take rank 0's whole part out of what every rank reads: DeepSpeed 0.19 leaves it there under ZeRO-3."""
    import torch

    held = torch.load(path, map_location="cpu", mmap=True, weights_only=False)
    if "fp32_flat_groups" not in held:
        return
    base = held["optimizer_state_dict"]
    small = {
        group: {name: value for name, value in state.items() if name not in MOMENTS}
        for group, state in base["state"].items()
    }
    rest = {name: value for name, value in held.items() if name != "fp32_flat_groups"}
    draft = path.with_suffix(".draft")
    torch.save({**rest, "optimizer_state_dict": {**base, "state": small}}, draft)
    draft.replace(path)


def _sync(folder: Path) -> None:
    for path in (folder, *_below(folder)):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _below(folder: Path) -> Iterator[Path]:
    return folder.rglob("*")


if __name__ == "__main__":
    main(sys.argv[1:])
