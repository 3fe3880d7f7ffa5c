"""The templates by name, read from templates.yaml: data, no code per template."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

import yaml


class TemplateUnknown(ValueError):
    """There is no template of that name."""


class TemplateInvalid(ValueError):
    """The template cannot be used with this tokenizer or these options."""


@dataclass(frozen=True, slots=True)
class Text:
    """A slot of text; `{{content}}` and `{{idx}}` stand for the message and the number of its turn."""

    text: str


@dataclass(frozen=True, slots=True)
class Special:
    """The id of the tokenizer's bos or eos token; nothing where it has none."""

    which: Literal["bos", "eos"]


@dataclass(frozen=True, slots=True)
class Token:
    """One id of the vocabulary, by its name."""

    name: str


Slot = Text | Special | Token
Slots = tuple[Slot, ...]

_CONTENT: Slots = (Text("{{content}}"),)
_KEYS = frozenset(
    {
        *("prefix", "user", "assistant", "system", "observation", "function"),
        *("tool_format", "default_system", "stop_words", "thought_words", "tool_call_words"),
        *("replace_eos", "replace_chat_template", "efficient_eos"),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """How a conversation is written around its messages."""

    name: str
    prefix: Slots
    user: Slots
    assistant: Slots
    system: Slots
    observation: Slots
    function: Slots
    tool_format: str
    default_system: str
    stop_words: tuple[str, ...]
    replace_eos: bool
    replace_chat_template: bool
    efficient_eos: bool
    thought_words: tuple[str, str]
    tool_call_words: tuple[str, str]

    def with_default_system(self, system: str | None) -> Template:
        """The same template with another default system text; None leaves it."""
        return self if system is None else dataclasses.replace(self, default_system=system)


def get(name: str) -> Template:
    """The template of that name.

    Raises:
        TemplateUnknown: there is none; the message lists the nearest names.
    """
    templates = _all()
    if name in templates:
        return templates[name]
    near = difflib.get_close_matches(name, templates, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(names())}"
    raise TemplateUnknown(f"template {name!r} is not known; {hint}")


def names() -> tuple[str, ...]:
    """All names, sorted."""
    return tuple(sorted(_all()))


@functools.cache
def _all() -> Mapping[str, Template]:
    text = resources.files(__package__).joinpath("templates.yaml").read_text("utf-8")
    return {name: _template(name, entry) for name, entry in yaml.safe_load(text).items()}


def _template(name: str, entry: Mapping[str, Any]) -> Template:
    assert entry.keys() <= _KEYS, f"templates.yaml: {name}: unknown keys {sorted(entry.keys() - _KEYS)}"
    efficient_eos = entry.get("efficient_eos", False)
    user = _slots(entry, "user", _CONTENT)
    assistant = _slots(entry, "assistant", _CONTENT if efficient_eos else (*_CONTENT, Special("eos")))
    return Template(
        name=name,
        prefix=_slots(entry, "prefix", ()),
        user=user,
        assistant=assistant,
        system=_slots(entry, "system", _CONTENT),
        observation=_slots(entry, "observation", user),
        function=_slots(entry, "function", assistant),
        tool_format=entry.get("tool_format", "default"),
        default_system=entry.get("default_system", ""),
        stop_words=tuple(entry.get("stop_words", ())),
        replace_eos=entry.get("replace_eos", False),
        replace_chat_template=entry.get("replace_chat_template", False),
        efficient_eos=efficient_eos,
        thought_words=tuple(entry.get("thought_words", ("<think>\n", "\n</think>\n\n"))),
        tool_call_words=tuple(entry.get("tool_call_words", ("<tool_call>", "</tool_call>"))),
    )


def _slots(entry: Mapping[str, Any], role: str, default: Slots) -> Slots:
    return tuple(_slot(slot) for slot in entry[role]) if role in entry else default


def _slot(slot: str | Mapping[str, str]) -> Slot:
    match slot:
        case str():
            return Text(slot)
        case {"special": ("bos" | "eos") as which}:
            return Special(which)
        case {"token": name}:
            return Token(name)
        case _:
            raise AssertionError(f"templates.yaml: {slot!r} is no slot")
