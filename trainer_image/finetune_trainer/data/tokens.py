"""Examples as tables: the columns between reading and training, and the step that turns them into token ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune_trainer.examples import IGNORE_INDEX, BadRow, Encoded, Example, Message
from finetune_trainer.template import Template
from finetune_trainer.template.encode import EncodeOptions, encode

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Features
    from transformers import PreTrainedTokenizerBase

PLACE = ("source", "file", "line")
"""Columns that say where a row comes from: the data set's number, its file's number, line or index."""


def example_schema() -> pa.Schema:
    """Columns of converted rows: an example, or the reason why the row is none."""
    import pyarrow as pa

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    place = [(name, pa.int64()) for name in PLACE]
    texts = [("system", pa.string()), ("tools", pa.string()), ("reason", pa.string())]
    return pa.schema([("messages", pa.list_(message)), *texts, *place])


def token_features() -> Features:
    """Columns of tokenised rows, as `Tokenise` returns them."""
    from datasets import Features, Sequence, Value

    lists = {name: Sequence(Value("int32")) for name in ("input_ids", "labels")}
    counts = {name: Value("int64") for name in (*PLACE, "tokens", "learned")}
    flags = {name: Value("bool") for name in ("truncated", "refused")}
    return Features(lists | counts | flags | {"reason": Value("string")})


def to_row(example: Example | BadRow) -> dict[str, Any]:
    """A converted row as columns, its place apart."""
    if isinstance(example, BadRow):
        return {"messages": [], "system": "", "tools": "", "reason": example.reason}
    messages = [{"role": message.role, "content": message.content} for message in example.messages]
    return {"messages": messages, "system": example.system, "tools": example.tools, "reason": None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokenise:
    """The function that `datasets.map` calls with batches of converted rows; a bad row keeps its place and reason."""

    template: Template
    tokenizer: PreTrainedTokenizerBase
    options: EncodeOptions

    def __call__(self, batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """Batch of columns of `example_schema` to columns of `token_features`, as many rows."""
        examples = list(_examples(batch))
        encoded = iter(encode(examples, self.template, self.tokenizer, self.options))
        rows = [
            _columns(next(encoded), refused=True) if reason is None else _columns(BadRow(reason=reason), refused=False)
            for reason in batch["reason"]
        ]
        return {name: [row[name] for row in rows] for name in rows[0]} | {name: batch[name] for name in PLACE}


def _examples(batch: Mapping[str, list[Any]]) -> Iterator[Example]:
    columns = (batch["messages"], batch["system"], batch["tools"], batch["reason"])
    for messages, system, tools, reason in zip(*columns, strict=True):
        if reason is None:
            said = tuple(Message(role=message["role"], content=message["content"]) for message in messages)
            yield Example(messages=said, system=system, tools=tools)


def _columns(encoded: Encoded | BadRow, *, refused: bool) -> dict[str, Any]:
    if isinstance(encoded, BadRow):
        empty = {"input_ids": [], "labels": [], "tokens": 0, "learned": 0, "truncated": False}
        return empty | {"reason": encoded.reason, "refused": refused}
    return {
        "input_ids": encoded.input_ids,
        "labels": encoded.labels,
        "tokens": len(encoded.input_ids),
        "learned": len(encoded.labels) - encoded.labels.count(IGNORE_INDEX),
        "truncated": encoded.truncated,
        "reason": None,
        "refused": False,
    }
