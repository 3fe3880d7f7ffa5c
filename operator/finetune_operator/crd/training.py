"""spec.training's schema: every key for `kubectl explain`, none of them binding more than its type.

No defaults (they would be written into every object and hide what the user said), every key nullable (pasted YAMLs
bring nulls), unknown keys kept, because the API server would prune them before `spec` can name the nearest known one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetune_operator.crd.structural import PRESERVE, Schema
from finetune_trainer import config


def training() -> Schema:
    """What the type of spec.training doesn't say: the trainer's own keys."""
    keys = config.schema()["properties"]
    return {PRESERVE: True, "properties": {name: _key(keys[name]) for name in sorted(keys)}}


def _key(schema: Mapping[str, Any]) -> Schema:
    """A key of one type keeps it; one of several is left untyped, as a structural schema wants it."""
    typed = {key: schema[key] for key in ("type", "items", PRESERVE) if key in schema} or {PRESERVE: True}
    return {"description": schema["description"], "nullable": True, **typed}
