"""What flows through the data rooms: messages, examples, and the token ids that become of them.

Law: values only. Nothing here knows a file, a row's keys, a template or a tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

IGNORE_INDEX = -100
"""The label of a token that is not learned: torch's cross entropy leaves it out."""

Role = Literal["user", "assistant", "observation", "function"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One turn's half: what a user, an assistant or a tool (observation) said, or a call of tools (function)."""

    role: Role
    content: str
    """Text; of a function message: JSON, one call or a list of calls, each with `name` and `arguments`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A conversation to learn: user or observation on even places, assistant or function on odd ones."""

    messages: tuple[Message, ...]
    system: str = ""
    """Empty: the template's default."""
    tools: str = ""
    """JSON list of the tools on offer; empty: none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """An example as token ids, with the labels to learn; both lists are of one length, at most cutoff_len."""

    input_ids: list[int]
    labels: list[int]
    truncated: bool
    """Tokens were cut off to fit cutoff_len."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRow:
    """A row that is no example, and why, in words for people."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a row comes from."""

    dataset: str
    file: str
    line: int
    """Line of a jsonl, csv or txt file, from 1; index of a row in any other, from 0."""

    def __str__(self) -> str:
        return f"{self.dataset}: {self.file}:{self.line}"
