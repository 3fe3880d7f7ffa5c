"""Each key by itself: is it known, is its value of the right type, is it refused for good."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from finetune_trainer.config.key import Group, info
from finetune_trainer.config.spellings import GONE, RENAMED
from finetune_trainer.config.train_config import FIELDS, GROUPS
from finetune_trainer.config.types import choices, kinds
from finetune_trainer.config.violations import Fault

_WORDS = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "array": "a list of names",
    "object": "a mapping",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What came of the keys: the groups without the wrong ones, so that rules can look at the others."""

    groups: dict[str, Group]
    faults: tuple[Fault, ...]
    wrong: frozenset[str]
    """Keys (today's names) whose values did not make it into the groups."""
    spelled: dict[str, str]
    """Today's name -> the name that the user wrote."""


@dataclass(kw_only=True, slots=True)
class _Sorted:
    """The user's mapping, by group."""

    parts: dict[str, dict[str, Any]] = field(default_factory=lambda: {attribute: {} for attribute in GROUPS})
    spelled: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    wrong: set[str] = field(default_factory=set)


def check(mapping: Mapping[str, Any]) -> Checked:
    """Look at each key by itself; nulls become defaults, old names today's."""
    found = _Sorted()
    for written, value in mapping.items():
        _take(found, str(written), value)
    groups = {attribute: _validate(attribute, found) for attribute in GROUPS}
    for attribute, group in groups.items():
        found.faults += _refused(group, said=found.parts[attribute].keys() - found.wrong)
    return Checked(
        groups=groups, faults=tuple(found.faults), wrong=frozenset(found.wrong), spelled=dict(found.spelled)
    )


def _take(found: _Sorted, written: str, value: object) -> None:
    name = RENAMED.get(written, written)
    if name not in FIELDS:
        found.faults.append(Fault(key=written, message=_unknown(written)))
        return
    attribute, definition = FIELDS[name]
    noted = info(definition)
    if value is None and not noted.null_counts:
        return
    part = found.parts[attribute]
    if value is False and "no" in choices(definition.annotation) and "boolean" not in kinds(definition.annotation):
        value = "no"  # what YAML makes of `eval_strategy: no`
    if noted.kept_in:
        found.spelled[name] = written
        found.wrong.add(name)
        found.faults.append(Fault(key=name, message=_secret(noted.kept_in)))
    elif name in part and part[name] != value:
        found.faults.append(
            Fault(key=written, message=f"contradicts {found.spelled[name]}, which is the same key; keep one of them")
        )
        found.wrong.add(name)
    else:
        part[name] = value
        found.spelled[name] = written


def _validate(attribute: str, found: _Sorted) -> Group:
    part = found.parts[attribute]
    try:
        return GROUPS[attribute].model_validate(part)
    except ValidationError as error:
        faults = {str(fault["loc"][0]): fault for fault in error.errors(include_url=False)}
        found.faults += [
            Fault(key=name, message=_mistyped(name, part[name], fault["type"], fault["msg"]))
            for name, fault in faults.items()
        ]
        found.wrong |= faults.keys()
        return GROUPS[attribute].model_validate({name: value for name, value in part.items() if name not in faults})


def _refused(group: Group, said: set[str]) -> Iterator[Fault]:
    for name in said:
        definition, value = type(group).model_fields[name], getattr(group, name)
        noted = info(definition)
        if noted.refused and value != definition.default and value not in noted.accepts:
            yield Fault(key=name, message=f"{_shown(value)}: {noted.refused}")


def _unknown(written: str) -> str:
    if written in GONE:
        return GONE[written]
    near = difflib.get_close_matches(written, [*FIELDS, *RENAMED], n=1)
    return f"unknown key; did you mean {near[0]}?" if near else "unknown key"


def _secret(variable: str) -> str:
    return (
        "a secret must not stand in a configuration, which many can read; put it into a Secret under the key "
        f"{variable} and name it in spec.model.secretRef or spec.env (without a cluster: set the variable {variable})"
    )


def _mistyped(name: str, value: object, problem: str, said: str) -> str:
    annotation = FIELDS[name][1].annotation
    if problem.startswith(("greater_than", "less_than")):
        return f"{said.replace('Input should', 'must')}, got {_shown(value)}"
    words = choices(annotation)
    near = difflib.get_close_matches(value, words, n=1) if isinstance(value, str) else []
    hint = f"; did you mean {near[0]}?" if near else ""
    wanted = [_WORDS[kind] for kind in kinds(annotation) if not (words and kind == "string")]
    if words:
        wanted.append(f"one of {', '.join(words)}")
    return f"expected {' or '.join(wanted)}, got {_shown(value)}{hint}"


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    text = value if isinstance(value, str) and value else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
