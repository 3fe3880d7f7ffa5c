"""A model's folder -> its architecture, checked against its weights. Opens config.json and the headers of safetensors.

No weight is read: a safetensors file begins with the length of a JSON header, eight bytes, and the header
(https://huggingface.co/docs/safetensors, "Format").
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from finetune_trainer.sizing import config_json, parameters
from finetune_trainer.sizing.architecture import Architecture, ArchitectureUnknown, Stored

_HEADER_LIMIT = 100_000_000
"""Bytes; the format allows no longer one."""
_TOLERANCE = 0.02
_TYPES: dict[str, Stored] = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


class FactsMissing(ValueError):
    """There is no description of the model here; says how to give one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """What headers say."""

    numbers: int
    stored: Stored | None
    """The type of most of them; None: packed by a quantisation."""


def read(path: Path) -> Architecture:
    """The architecture of a model's folder, or of a config.json alone.

    Raises:
        FactsMissing: neither is there, or it is no JSON.
        ArchitectureUnknown: it is of a kind whose size cannot be told, or its weights are not as many as that.
    """
    file = path / "config.json" if path.is_dir() else path
    if not file.is_file():
        raise FactsMissing(f"{path}: there is no config.json")
    model = config_json.read(_config(file))
    counted = count(path) if path.is_dir() else None
    if counted is None or model.quantised is not None:
        return model
    _check(model, counted)
    return model if model.stored else replace(model, stored=counted.stored)


def count(folder: Path) -> Counted | None:
    """Numbers in all safetensors files of a folder; None: there are none.

    Raises:
        FactsMissing: a file is cut off, or no safetensors file.
    """
    types: Counter[str] = Counter()
    for file in sorted(folder.glob("*.safetensors")):
        for kind, size in _tensors(file):
            types[kind] += size
    if not types:
        return None
    return Counted(numbers=types.total(), stored=_TYPES.get(types.most_common(1)[0][0]))


def _config(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FactsMissing(f"{file}: can't be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise FactsMissing(f"{file}: holds no JSON object")
    return found


def _tensors(file: Path) -> Iterator[tuple[str, int]]:
    """Type and number of elements of each tensor."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length)) if length < _HEADER_LIMIT else None
        named = {name: about for name, about in (header or {}).items() if name != "__metadata__"}
        sizes = [(str(about["dtype"]), prod(about["shape"])) for about in named.values()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FactsMissing(f"{file}: its header can't be read; fetch the file again ({error})") from error
    if header is None:
        raise FactsMissing(f"{file}: its header can't be read; fetch the file again")
    yield from sizes


def _check(model: Architecture, counted: Counted) -> None:
    """Only what was taken for granted of an unknown family: files may hold more than is trained, tied weights twice.

    Raises:
        ArchitectureUnknown: it is not so.
    """
    expected = parameters.total(model)
    if model.assumed and abs(counted.numbers - expected) > _TOLERANCE * expected:
        raise ArchitectureUnknown(
            f"config.json: a model of type {model.kind} is not known here. If it were built like llama it would have "
            f"{expected:,} weights; its files have {counted.numbers:,}"
        )
