"""Rows to examples, by the entry that describes them. Pure: one row in, an Example or a BadRow out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from finetune_trainer.data.entry import Columns, Entry, Tags
from finetune_trainer.examples import BadRow, Example, Message, Role

Row = Mapping[str, Any]


def convert(row: object, entry: Entry) -> Example | BadRow:
    """One row as an example, by LLaMA-Factory's rules (data/converter.py of 0.9.5)."""
    try:
        if not isinstance(row, Mapping):
            raise _Bad(f"expected an object, got {_kind(row)}")
        match entry.formatting:
            case "alpaca":
                return _alpaca(row, entry.columns)
            case "sharegpt":
                return _sharegpt(row, entry.columns, entry.tags)
    except _Bad as error:
        return BadRow(reason=str(error))


class _Bad(ValueError):
    """The row is no example; the message says why."""


def _alpaca(row: Row, columns: Columns) -> Example:
    """Instruction and input by a newline; history's pairs come first and are learned too."""
    parts = [_text(row, column) for column in (columns.prompt, columns.query)]
    answer = _value(row, columns.response)
    if not isinstance(answer, str):
        raise _Bad(f"{columns.response or 'response'}: expected a text to learn, got {_kind(answer)}")
    turns = [*_history(_value(row, columns.history)), ("\n".join(part for part in parts if part), answer)]
    messages = [message for user, assistant in turns for message in _pair(user, assistant)]
    return Example(messages=tuple(messages), system=_text(row, columns.system), tools=_tools(row, columns))


def _history(history: object) -> list[tuple[str, str]]:
    if history is None or history == "":
        return []
    if not isinstance(history, Sequence) or isinstance(history, str):
        raise _Bad(f"history: expected a list of pairs, got {_kind(history)}")
    for pair in history:
        if not isinstance(pair, Sequence) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise _Bad("history: expected pairs of two texts, what the user and the assistant said")
    return [(user, assistant) for user, assistant in history]


def _pair(user: str, assistant: str) -> tuple[Message, Message]:
    return Message(role="user", content=user), Message(role="assistant", content=assistant)


def _sharegpt(row: Row, columns: Columns, tags: Tags) -> Example:
    """A leading system message wins over the system column; then the roles take turns, an even number of them."""
    raw = _value(row, columns.messages)
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not raw:
        raise _Bad(f"{columns.messages or 'messages'}: expected a list of messages, got {_kind(raw)}")
    said = [_role_and_content(message, tags) for message in raw]
    system = _text(row, columns.system)
    if tags.system_tag is not None and said[0][0] == tags.system_tag:
        system, said = said[0][1], said[1:]
    roles = _roles(tags)
    messages = [_message(index, tag, content, roles) for index, (tag, content) in enumerate(said)]
    if not messages or len(messages) % 2:
        raise _Bad(f"{len(messages)} messages: expected turns of two, a question and its answer")
    return Example(messages=tuple(messages), system=system, tools=_tools(row, columns))


def _role_and_content(message: object, tags: Tags) -> tuple[str, str]:
    if not isinstance(message, Mapping):
        raise _Bad(f"message: expected an object, got {_kind(message)}")
    tag, content = message.get(tags.role_tag), message.get(tags.content_tag)
    if not isinstance(tag, str):
        raise _Bad(f"message: {tags.role_tag!r} is missing or no text; it has {', '.join(map(repr, message))}")
    if not isinstance(content, str):
        raise _Bad(f"message of {tag!r}: {tags.content_tag!r}: expected a text, got {_kind(content)}")
    return tag, content


def _roles(tags: Tags) -> dict[str, Role]:
    by_tag: list[tuple[str | None, Role]] = [
        (tags.user_tag, "user"),
        (tags.observation_tag, "observation"),
        (tags.assistant_tag, "assistant"),
        (tags.function_tag, "function"),
    ]
    return {tag: role for tag, role in by_tag if tag is not None}


def _message(index: int, tag: str, content: str, roles: Mapping[str, Role]) -> Message:
    wanted = ("assistant", "function") if index % 2 else ("user", "observation")
    role = roles.get(tag)
    if role is None:
        raise _Bad(f"message {index + 1}: role {tag!r} is not known; known: {', '.join(map(repr, roles))}")
    if role not in wanted:
        raise _Bad(f"message {index + 1}: role {tag!r} where {' or '.join(wanted)} must speak")
    return Message(role=role, content=content)


def _tools(row: Row, columns: Columns) -> str:
    """As JSON text; a list is written as one."""
    tools = _value(row, columns.tools)
    if tools is None:
        return ""
    return tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False)


def _value(row: Row, column: str | None) -> object:
    return None if column is None else row.get(column)


def _text(row: Row, column: str | None) -> str:
    value = _value(row, column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _Bad(f"{column}: expected a text, got {_kind(value)}")
    return value


def _kind(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"[:80]
