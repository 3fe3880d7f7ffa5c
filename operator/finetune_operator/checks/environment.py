"""Environment variables: well formed, not ours, and no secret in plain sight."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from finetune_operator.observe import Observed
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob, Violation

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_RESERVED = re.compile(
    r"FINETUNE_.*|PET_.*|TORCHELASTIC_.*|MASTER_(ADDR|PORT)|((LOCAL|GROUP|ROLE|NODE|CROSS)_)?RANK"
    r"|((LOCAL|GROUP|ROLE)_)?WORLD_SIZE|NNODES|NPROC_PER_NODE"
)
_SECRET = re.compile(r".*(TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIALS?)|(.*_|.*API|.*ACCESS)?KEY", re.IGNORECASE)
"""As names end that hold secrets: HF_TOKEN, WANDB_API_KEY, but not TOKENIZERS_PARALLELISM."""
_SOURCES = ("secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef")


def entries_well_formed(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """Each entry has a name, and exactly one of value and valueFrom."""
    yield from malformed(job.spec.env, "spec.env")


def names_not_reserved(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """No entry says what the operator, the training operator or torchrun say."""
    yield from reserved(job.spec.env, "spec.env")


def no_plain_secrets(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """A secret comes by reference."""
    yield from plain_secrets(job.spec.env, "spec.env")


def malformed(entries: Sequence[Mapping[str, Any]], path: str) -> Iterable[Violation]:
    """Wrong entries of a list of environment variables."""
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        name = entry.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            yield Violation(path=f"{path}[{index}].name", message="must be the name of a variable, e.g. NCCL_DEBUG")
        elif name in seen:
            yield Violation(path=f"{path}[{index}].name", message=f"{name} is there twice")
        else:
            seen.add(name)
        if message := _wrong_value(entry):
            yield Violation(path=f"{path}[{index}]", message=message)


def reserved(entries: Sequence[Mapping[str, Any]], path: str) -> Iterable[Violation]:
    """Entries whose names the launch owns."""
    for index, entry in enumerate(entries):
        name = str(entry.get("name"))
        if _RESERVED.fullmatch(name):
            message = f"{name} is set for every rank by the launch; spec.resources says how many there are"
            yield Violation(path=f"{path}[{index}].name", message=message)


def plain_secrets(entries: Sequence[Mapping[str, Any]], path: str) -> Iterable[Violation]:
    """Entries that look like a secret and bring it as plain text; the message never repeats it."""
    for index, entry in enumerate(entries):
        name = str(entry.get("name"))
        if entry.get("value") and _SECRET.fullmatch(name):
            message = f"{name} looks like a secret; write valueFrom: {{secretKeyRef: {{name: <Secret>, key: {name}}}}}"
            yield Violation(path=f"{path}[{index}].value", message=message)


def _wrong_value(entry: Mapping[str, Any]) -> str | None:
    if unknown := sorted(entry.keys() - {"name", "value", "valueFrom"}):
        return f"unknown field {unknown[0]}; known here: name, value, valueFrom"
    if ("value" in entry) == ("valueFrom" in entry):
        return "must have exactly one of value and valueFrom"
    if "value" in entry and not isinstance(entry["value"], str):
        return 'value must be text; put it in quotation marks, e.g. value: "1"'
    source = entry.get("valueFrom", {"fieldRef": {}})
    if not isinstance(source, Mapping) or len(source) != 1 or next(iter(source)) not in _SOURCES:
        return f"valueFrom must have exactly one of {', '.join(_SOURCES)}"
    return None
