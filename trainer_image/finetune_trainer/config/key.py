"""What a key of train.yaml is made of: default, sentence, bounds, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyInfo:
    """What we know about a key beyond its type."""

    refused: str = ""
    """Why other values than the default and `accepts` are refused for good, and the nearest thing that works."""
    accepts: tuple[Any, ...] = ()
    """Values beside the default that work, or that change nothing."""
    kept_in: str | None = None
    """The key holds a secret and is refused; the environment variable to keep it in instead."""
    null_counts: bool = False
    """An explicit null is a value of its own, not the default."""
    passed: bool = False
    """Handed to transformers' TrainingArguments under the same name and with the same value."""


class Facts(TypedDict, total=False):
    """What `key` takes beside default and sentence: bounds, and the fields of `KeyInfo`."""

    ge: float
    gt: float
    le: float
    lt: float
    refused: str
    accepts: tuple[Any, ...]
    kept_in: str
    null_counts: bool
    passed: bool


class Group(BaseModel):
    """A frozen group of keys; building the validators waits for the first use, so that the import stays fast."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, protected_namespaces=())


_BOUNDS = frozenset({"ge", "gt", "le", "lt"})


def key(default: object, sentence: str, **facts: Unpack[Facts]) -> Any:  # noqa: ANN401 - as pydantic.Field
    """A field of a group: its default and one sentence for people, for `kubectl explain` and the documentation."""
    given: dict[str, Any] = dict(facts)
    bounds = {name: given.pop(name) for name in _BOUNDS & given.keys()}
    return Field(default=default, description=sentence, json_schema_extra={"info": KeyInfo(**given)}, **bounds)  # type: ignore[dict-item]


def info(field: FieldInfo) -> KeyInfo:
    """What `key` noted about the field."""
    extra = field.json_schema_extra
    assert isinstance(extra, dict), "declared without key()"
    noted: Any = extra["info"]
    assert isinstance(noted, KeyInfo), "declared without key()"
    return noted
