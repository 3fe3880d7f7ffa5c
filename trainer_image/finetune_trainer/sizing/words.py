"""Pure: a report in words, as people read them in a status or on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetune_trainer.sizing.machine import GIB
from finetune_trainer.sizing.report import Report


def in_words(report: Report) -> str:
    """One line: what a rank takes, and whether it fits."""
    taken, memory = gib(report.estimate.total), report.machine.memory
    what = "GPU" if report.machine.gpu else "process"
    if memory is None:
        return f"{count(report.estimate.parameters)} parameters, about {taken} for each {what}"
    verdict = "fits" if report.fits else "does not fit"
    return f"{count(report.estimate.parameters)} parameters, {verdict}: about {taken} of {gib(memory)} for each {what}"


def instead(report: Report) -> str:
    """The nearest plan that fits, as keys to write; empty where this one does, or nothing is known."""
    if report.nearest is not None:
        return f"this fits ({gib(report.nearest.estimate.total)}): {', '.join(keys(report.nearest.changes))}"
    if report.leanest is not None:
        least = f"{gib(report.leanest.estimate.total)} with {', '.join(keys(report.leanest.changes))}"
        return f"no plan fits at this cutoff_len; what takes least still takes {least}"
    return ""


def keys(changes: Mapping[str, Any]) -> list[str]:
    """Each change as a line of train.yaml."""
    return [
        f"{key}: {str(value).lower()}" if value is not None else f"(leave {key} out)" for key, value in changes.items()
    ]


def gib(size: float) -> str:
    """Bytes as people read them."""
    return f"{size / GIB:,.1f} GiB"


def count(number: int) -> str:
    """36.15 B"""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6)):
        if number >= size:
            return f"{number / size:,.2f} {unit}"
    return f"{number:,}"
