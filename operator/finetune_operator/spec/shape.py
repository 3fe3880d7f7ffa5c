"""The shape of a manifest: pydantic's errors in words for people, with the field's path as the user wrote it."""

from __future__ import annotations

import difflib
import json
import types as python_types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from finetune_operator.spec.part import QUANTITY, Part
from finetune_operator.spec.types import FineTuneJobSpec
from finetune_operator.spec.violation import SpecInvalid, Violation
from finetune_trainer import config

_WORDS = {
    "greater_than_equal": "must be at least {ge}, not {value}",
    "less_than_equal": "must be at most {le}, not {value}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters, not {length}",
    "too_long": "must have at most {max_length} entries, not {length}",
    "literal_error": "must be {expected}, not {value}",
    "int_type": "must be a whole number, not {value}",
    "bool_type": "must be true or false, not {value}",
    "string_type": "must be text, not {value}",
    "dict_type": "must be a mapping, not {value}",
    "model_type": "must be a mapping, not {value}",
    "tuple_type": "must be a list, not {value}",
}
"""pydantic's error type -> our words."""


def read_spec(raw: object) -> FineTuneJobSpec:
    """The manifest's spec as types.

    Raises:
        SpecInvalid: with every field of a wrong shape.
    """
    try:
        return FineTuneJobSpec.model_validate(raw, by_alias=True, by_name=False)
    except ValidationError as error:
        raise SpecInvalid(tuple(_violation(found) for found in error.errors(include_url=False))) from error


def nearest(word: str, known: Sequence[str], *, cutoff: float = 0.6) -> str:
    """`; did you mean ...?`, or nothing where no known word is near."""
    found = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
    return f"; did you mean {found[0]}?" if found else ""


def _violation(error: ErrorDetails) -> Violation:
    where = error["loc"]
    return Violation(path=_path(where), message=_message(error, where))


def _path(where: tuple[int | str, ...]) -> str:
    return "spec" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)


def _message(error: ErrorDetails, where: tuple[int | str, ...]) -> str:
    value = error.get("input")
    if error["type"] == "missing":
        return f"is required: {_sentence(where)}"
    if error["type"] == "extra_forbidden":
        return f"unknown field{_where_it_belongs(where)}"
    if error["type"] == "string_pattern_mismatch":
        return _pattern(str(error["ctx"]["pattern"]), value)
    words = _WORDS.get(error["type"])
    if words is None:  # raised by a validator of ours
        return str(error.get("ctx", {}).get("error", error["msg"]))
    length = len(value) if isinstance(value, str | Sequence | Mapping) else 0
    limits = {key: str(limit).replace("'", "") for key, limit in error.get("ctx", {}).items()}
    return words.format(**limits | {"value": _show(value), "length": length})


def _pattern(pattern: str, value: object) -> str:
    if pattern == QUANTITY:
        return f"must be a quantity such as 64, 500m or 80Gi, not {_show(value)}"
    return f"must be one word without commas, not {_show(value)}"


def _show(value: object) -> str:
    """The value as the user wrote it, cut when long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = text or '""'
    return text if len(text) <= 60 else f"{text[:57]}..."


def _sentence(where: tuple[int | str, ...]) -> str:
    part = _part_at(where[:-1])
    fields = part.model_fields.values() if part else ()
    return next((field.description or "" for field in fields if field.alias == where[-1]), "it has no default.")


def _where_it_belongs(where: tuple[int | str, ...]) -> str:
    """The nearest word here, or, at the top, the same word further down."""
    name, part = str(where[-1]), _part_at(where[:-1])
    siblings = list(_fields(part)) if part else []
    if len(where) == 1 and not nearest(name, siblings, cutoff=0.8) and (found := _further_down(name)):
        return f"; did you mean {found}?"
    return nearest(name, siblings) or f"; known here: {', '.join(siblings)}"


def _further_down(name: str) -> str | None:
    if name in config.schema()["properties"]:
        return f"spec.training.{name}"
    return next((path for path in _all_paths(FineTuneJobSpec, "spec") if path.rpartition(".")[2] == name), None)


def _fields(part: type[Part]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in part.model_fields.items()}


def _part_at(where: tuple[int | str, ...]) -> type[Part] | None:
    part: type[Part] | None = FineTuneJobSpec
    for step in where:
        if isinstance(step, str):
            part = _part_in(_fields(part).get(step)) if part else None
    return part


def _part_in(annotation: object) -> type[Part] | None:
    """The Part inside `Part`, `Part | None` or `tuple[Part, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    if get_origin(annotation) in (Union, python_types.UnionType, tuple):
        return next((part for inner in get_args(annotation) if (part := _part_in(inner))), None)
    return None


def _all_paths(part: type[Part], prefix: str) -> Iterator[str]:
    for name, annotation in _fields(part).items():
        yield f"{prefix}.{name}"
        inner = _part_in(annotation)
        if inner:
            yield from _all_paths(inner, f"{prefix}.{name}")
