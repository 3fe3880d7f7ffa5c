"""The names by which people ask for a ZeRO stage: ours, and the file names of LLaMA-Factory's examples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Zero:
    """What is shared between ranks: nothing (0), the optimiser (1), gradients too (2), weights too (3)."""

    stage: int
    offload: bool = False
    """Keep what is shared in host memory."""
    weights_stay: bool = False
    """Of what is shared, keep weights on the GPU all the same."""
    refused: str = ""
    """Why it can't be had, and the nearest thing that works."""


SHORT = {
    "zero0": Zero(stage=0),
    "zero1": Zero(stage=1),
    "zero2": Zero(stage=2),
    "zero2_offload": Zero(stage=2, offload=True),
    "zero3": Zero(stage=3),
    "zero3_offload": Zero(stage=3, offload=True),
}
FILES = {
    "ds_z0_config.json": Zero(stage=0),
    "ds_z2_config.json": Zero(stage=2),
    "ds_z2_autotp_config.json": Zero(
        stage=2,
        refused="DeepSpeed's tensor parallelism (AutoTP) wants ranks that read the same rows, and ours read "
        "different ones; zero3 shares the weights, too",
    ),
    "ds_z2_offload_config.json": Zero(stage=2, offload=True),
    "ds_z3_config.json": Zero(stage=3),
    "ds_z3_fp8_config.json": Zero(stage=3, offload=True, weights_stay=True),
    "ds_z3_offload_config.json": Zero(stage=3, offload=True),
}


def by_name(deepspeed: str) -> Zero:
    """The stage that a short name or the name of one of LLaMA-Factory's files, in whatever folder, stands for.

    Raises:
        ValueError: not a known name.
    """
    zero = SHORT.get(deepspeed) or FILES.get(Path(deepspeed).name)
    if zero is None:
        known = ", ".join((*SHORT, *FILES))
        raise ValueError(
            f"no known name and no file: {deepspeed!r}; known are {known}; or write the config itself here"
        )
    return zero


def stage(deepspeed: str | Mapping[str, Any] | None) -> int:
    """ZeRO stage of a name or a config; 0 without DeepSpeed.

    Raises:
        ValueError: not a known name, or the config's stage is none.
    """
    if not deepspeed:
        return 0
    if isinstance(deepspeed, str):
        return by_name(deepspeed).stage
    section = deepspeed.get("zero_optimization") or {}
    number = section.get("stage", 0) if isinstance(section, Mapping) else None
    if number not in (0, 1, 2, 3) or isinstance(number, bool):
        raise ValueError("zero_optimization must be a mapping whose stage is 0, 1, 2 or 3")
    return int(number)


def inlined(deepspeed: object) -> object:
    """What the file holds that `deepspeed` names, or `deepspeed` itself when there is no such file.

    Raises:
        ValueError: the file holds no JSON object.
    """
    if not isinstance(deepspeed, str) or not deepspeed.endswith(".json"):
        return deepspeed
    try:
        config = json.loads(Path(deepspeed).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return deepspeed
    except (OSError, ValueError) as error:
        raise ValueError(f"{deepspeed} can't be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{deepspeed} holds no JSON object")  # noqa: TRY004 - a fault of the user's file
    return config
