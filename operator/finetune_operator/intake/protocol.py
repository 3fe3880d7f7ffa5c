"""Pure: a post's body, in Kubeflow's status protocol (kubeflow/trainer: pkg/statusserver) -> Progress."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import get_args

from finetune_trainer.records import Phase, Progress

PHASES: tuple[Phase, ...] = get_args(Phase)
METRICS = 64
VALUE_LENGTH = 64
LARGEST = 2**53


def from_kubeflow(body: object, *, now: float) -> Progress:
    """Read what `records.to_kubeflow` wrote; unknown metrics, and those beyond the 64th, are left out.

    Args:
        body: The posted JSON value.
        now: Unix seconds; stands in for a time that is missing or lies in the future.

    Raises:
        ValueError: the body has another shape, or a value is no number where one belongs.
    """
    status = body.get("trainerStatus") if isinstance(body, Mapping) else None
    if not isinstance(status, Mapping):
        raise ValueError("expected an object with an object trainerStatus")  # noqa: TRY004 - the poster's mistake, as all here
    values = _metrics(status.get("metrics") or [])
    remaining = status.get("estimatedRemainingSeconds")
    return Progress(
        time=max(0.0, min(_number("time", values, now), now)),
        phase=_phase(values.get("phase", "training")),
        step=_whole("step", values) or 0,
        total_steps=_whole("total_steps", values) or 0,
        epoch=_number("epoch", values, 0.0),
        loss=_optional("loss", values),
        learning_rate=_optional("learning_rate", values),
        tokens_per_second=_optional("tokens_per_second", values),
        tokens_per_second_per_gpu=_optional("tokens_per_second_per_gpu", values),
        mfu=_optional("mfu", values),
        peak_memory=_whole("peak_memory", values),
        remaining_seconds=None if remaining is None else _whole("remaining", {"remaining": str(remaining)}),
        checkpoint_step=_whole("checkpoint_step", values),
        checkpoint_path=_folder("checkpoint_path", values),
        checkpoint_time=_time("checkpoint_time", values, now),
        rows=_whole("rows", values),
        rows_dropped=_whole("rows_dropped", values),
        rows_truncated=_whole("rows_truncated", values),
        rows_changed=_whole("rows_changed", values),
        fetched_bytes=_whole("fetched_bytes", values),
        total_bytes=_whole("total_bytes", values),
        bytes_per_second=_finite("bytes_per_second", values),
    )


def _phase(said: str) -> Phase:
    for phase in PHASES:
        if phase == said:
            return phase
    raise ValueError(f"metrics: phase: {said!r} is none of {', '.join(PHASES)}")


def _metrics(listed: object) -> dict[str, str]:
    """Name -> value of the metrics list."""
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
        raise ValueError("trainerStatus.metrics: expected a list of objects with name and value")
    return {str(one.get("name")): str(one.get("value"))[:VALUE_LENGTH] for one in listed[:METRICS]}


def _optional(name: str, values: Mapping[str, str]) -> float | None:
    """A number that may be missing; nan and inf are numbers, a diverged loss is worth telling."""
    if name not in values:
        return None
    try:
        return float(values[name])
    except ValueError:
        raise ValueError(f"metrics: {name}: {values[name]!r} is no number") from None


def _folder(name: str, values: Mapping[str, str]) -> str | None:
    """A checkpoint's folder; people will copy it, so it must not lead elsewhere."""
    folder = values.get(name)
    if folder is not None and not re.fullmatch(r"checkpoint-\d+", folder):
        raise ValueError(f"metrics: {name}: {folder!r} is no checkpoint's folder")
    return folder


def _time(name: str, values: Mapping[str, str], now: float) -> float | None:
    """Unix seconds, not in the future; None where it is not said."""
    return max(0.0, min(_number(name, values, now), now)) if name in values else None


def _number(name: str, values: Mapping[str, str], default: float) -> float:
    number = _optional(name, values)
    return default if number is None or not math.isfinite(number) else number


def _finite(name: str, values: Mapping[str, str]) -> float | None:
    number = _optional(name, values)
    return number if number is not None and 0 <= number <= LARGEST else None


def _whole(name: str, values: Mapping[str, str]) -> int | None:
    number = _optional(name, values)
    if number is None:
        return None
    if not 0 <= number <= LARGEST:
        raise ValueError(f"metrics: {name}: {values[name]!r} is no count")
    return int(number)
