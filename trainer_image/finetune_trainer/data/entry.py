"""An entry of dataset_info.json as a value: where the rows are, and what their columns and tags are called."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

_NOT_YET = {
    "ms_hub_url": "a ModelScope data set",
    "om_hub_url": "a Modelers data set",
    "script_url": "a loading script",
    "cloud_file_name": "a file in a cloud store",
}
_FORMATTINGS = ("alpaca", "sharegpt")
_MEDIA = ("images", "videos", "audios")
_PREFERENCE = ("chosen", "rejected", "kto_tag")
_Names = TypeVar("_Names", "Columns", "Tags")


class DataInvalid(ValueError):
    """A data set that cannot be used, in words for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Names of the columns; None: the rows have no such column."""

    prompt: str | None = "instruction"
    query: str | None = "input"
    response: str | None = "output"
    history: str | None = None
    messages: str | None = "conversations"
    system: str | None = None
    tools: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Tags:
    """Keys and role names of a message in sharegpt rows; None: there is no such role."""

    role_tag: str | None = "from"
    content_tag: str | None = "value"
    user_tag: str | None = "human"
    assistant_tag: str | None = "gpt"
    observation_tag: str | None = "observation"
    function_tag: str | None = "function_call"
    system_tag: str | None = "system"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One data set."""

    name: str
    file_name: str | None
    hf_hub_url: str | None
    formatting: Literal["alpaca", "sharegpt"]
    columns: Columns
    named_columns: tuple[str, ...]
    """What `columns` names, and some row must have."""
    tags: Tags
    subset: str | None
    split: str
    folder: str | None
    num_samples: int | None


_KEYS = frozenset(
    {
        *("file_name", "hf_hub_url", "formatting", "ranking", "columns", "tags"),
        *("subset", "split", "folder", "num_samples", "file_sha1"),
    }
)
"""file_sha1 stands in older files and, as in LLaMA-Factory, nobody looks at it."""


def parse(name: str, raw: object, *, stage: str) -> Entry:
    """An entry as LLaMA-Factory reads it: once `columns` is there, every column not in it is none; so with `tags`.

    Raises:
        DataInvalid: with all faults of the entry, one a line.
    """
    where = f"dataset {name!r} in dataset_info.json"
    if not isinstance(raw, Mapping):
        raise DataInvalid(f"{where}: expected an object, got {type(raw).__name__}")
    if faults := [*_unsupported(raw, stage), *_unknown(raw), *_wrong_types(raw), *_left_out(raw)]:
        raise DataInvalid("\n".join(f"{where}: {fault}" for fault in faults))
    return Entry(
        name=name,
        file_name=raw.get("file_name"),
        hf_hub_url=raw.get("hf_hub_url"),
        formatting=raw.get("formatting", "alpaca"),
        columns=_names(Columns, raw.get("columns")),
        named_columns=tuple(name for name in (raw.get("columns") or {}).values() if name),
        tags=_names(Tags, raw.get("tags")),
        subset=raw.get("subset"),
        split=raw.get("split") or "train",
        folder=raw.get("folder"),
        num_samples=raw.get("num_samples"),
    )


def _unsupported(raw: Mapping[str, Any], stage: str) -> Iterator[str]:
    # A Hugging Face id wins over every other source, and any hub over file_name.
    elsewhere = [] if raw.get("hf_hub_url") else [key for key in _NOT_YET if raw.get(key)]
    for key in elsewhere:
        yield f"{key}: {_NOT_YET[key]} is not supported yet; write file_name or hf_hub_url instead"
    if not (elsewhere or raw.get("hf_hub_url") or raw.get("file_name")):
        yield "no source; write file_name or hf_hub_url"
    if raw.get("formatting", "alpaca") not in _FORMATTINGS:
        yield f"formatting: {raw['formatting']!r} is not supported yet; write {' or '.join(_FORMATTINGS)}"
    if raw.get("ranking"):
        yield f"ranking: preference data cannot be used in stage {stage}; name another data set, or set stage: dpo"
    columns = raw.get("columns")
    if isinstance(columns, Mapping):
        yield from (f"columns.{key}: media are not supported yet" for key in _MEDIA if columns.get(key))
        if columns.get("kto_tag"):
            yield f"columns.kto_tag: verdicts cannot be used in stage {stage}; name other data, or set stage: kto"


def _unknown(raw: Mapping[str, Any]) -> Iterator[str]:
    yield from _not_in(_KEYS | _NOT_YET.keys(), raw, "")
    known = {"columns": {*_fields(Columns), *_MEDIA, *_PREFERENCE}, "tags": set(_fields(Tags))}
    for key, names in known.items():
        if isinstance(raw.get(key), Mapping):
            yield from _not_in(names, raw[key], f"{key}.")


def _not_in(known: Collection[str], said: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key in said:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            yield f"{prefix}{key}: unknown key" + (f"; did you mean {prefix}{near[0]}?" if near else "")


def _wrong_types(raw: Mapping[str, Any]) -> Iterator[str]:
    for key in ("file_name", "hf_hub_url", "subset", "split", "folder"):
        if not isinstance(raw.get(key), str | None):
            yield f"{key}: expected a text, got {raw[key]!r}"
    number = raw.get("num_samples")
    if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 1):
        yield f"num_samples: expected a number of rows, got {number!r}"
    for key in ("columns", "tags"):
        names = raw.get(key)
        if not isinstance(names, Mapping | None):
            yield f"{key}: expected an object, got {names!r}"
        elif names and not all(isinstance(name, str | None) for name in names.values()):
            yield f"{key}: expected names, got {dict(names)!r}"


def _left_out(raw: Mapping[str, Any]) -> Iterator[str]:
    sharegpt = raw.get("formatting") == "sharegpt"
    needed = {"columns": ["messages"], "tags": ["role_tag", "content_tag", "user_tag", "assistant_tag"]}
    if not sharegpt:
        needed = {"columns": ["prompt", "response"]}
    for key, names in needed.items():
        said = raw.get(key)
        if isinstance(said, Mapping):
            for name in names:
                if not said.get(name):
                    yield f"{key}: {name} is missing; once {key} is there, what it does not name does not exist"


def _names(kind: type[_Names], said: Mapping[str, str] | None) -> _Names:
    return kind() if said is None else kind(**{key: said.get(key) for key in _fields(kind)})


def _fields(kind: type[Columns] | type[Tags]) -> list[str]:
    return [field.name for field in fields(kind)]
