"""All keys as a JSON schema, for the CRD's `spec.training` and the documentation."""

from __future__ import annotations

import json
from typing import Any

from pydantic.fields import FieldInfo

from finetune_trainer.config.key import info
from finetune_trainer.config.spellings import RENAMED
from finetune_trainer.config.train_config import FIELDS
from finetune_trainer.config.types import Kind, choices, kinds


def schema() -> dict[str, Any]:
    """JSON schema of a train.yaml: every key nullable and described, none with `default:`.

    A key of one type has `type`; a key of several has `anyOf` in its place (a CRD has to leave it untyped). Choices
    stand in the sentences alone: `parse` says better than an API server what is wrong.
    """
    properties = {name: _property(field) for name, (_, field) in FIELDS.items()}
    for old, name in RENAMED.items():
        properties[old] = properties[name] | {"description": f"Other name of {name}."}
    return {
        "type": "object",
        "description": "A LLaMA-Factory configuration, pasted as it is.",
        "properties": properties,
        "x-kubernetes-preserve-unknown-fields": True,
    }


def describe(field: FieldInfo) -> str:
    """The key's sentence, its default, its choices, and what is refused."""
    noted, words = info(field), choices(field.annotation)
    parts = [field.description or "", f"Default: {_plain(field.default)}."]
    if words:
        parts.append(f"One of: {', '.join(words)}.")
    if noted.refused:
        besides = ", ".join(_plain(value) for value in noted.accepts)
        parts.append(f"Other values{f' than {besides}' if besides else ''} are refused: {noted.refused}.")
    return " ".join(parts)


def _property(field: FieldInfo) -> dict[str, Any]:
    types = [_typed(kind) for kind in kinds(field.annotation)]
    typed = types[0] if len(types) == 1 else {"anyOf": types}
    return {**typed, "nullable": True, "description": describe(field)}


def _typed(kind: Kind) -> dict[str, Any]:
    if kind == "array":
        return {"type": "array", "items": {"type": "string"}}
    if kind == "object":
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {"type": kind}


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value) or "null"
    return value if isinstance(value, str) and value else json.dumps(value)
