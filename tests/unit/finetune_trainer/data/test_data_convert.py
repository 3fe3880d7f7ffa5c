"""Rows to examples: what LLaMA-Factory's rules make of them, and why a row is none."""

from __future__ import annotations

from typing import Any

import pytest

from finetune_trainer.data.convert import convert
from finetune_trainer.data.entry import Entry, parse
from finetune_trainer.examples import BadRow, Example


def alpaca(**other: Any) -> Entry:
    return parse("a", {"file_name": "a.json", **other}, stage="sft")


def sharegpt(**other: Any) -> Entry:
    return parse("s", {"file_name": "s.json", "formatting": "sharegpt", **other}, stage="sft")


def said(example: Example | BadRow) -> list[tuple[str, str]]:
    assert isinstance(example, Example)
    return [(message.role, message.content) for message in example.messages]


HISTORY = {"prompt": "instruction", "response": "output", "history": "history", "system": "sys"}
TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}


def test_alpaca_joins_instruction_and_input() -> None:
    row = {"instruction": "Add", "input": "1 2", "output": "3"}
    assert said(convert(row, alpaca())) == [("user", "Add\n1 2"), ("assistant", "3")]
    assert said(convert({"instruction": "Hi", "input": "", "output": ""}, alpaca())) == [
        ("user", "Hi"),
        ("assistant", ""),
    ]


def test_alpaca_puts_history_before_and_reads_named_columns_only() -> None:
    row = {"instruction": "c", "input": "left out", "output": "d", "history": [["a", "b"]], "sys": "Be brief."}
    example = convert(row, alpaca(columns=HISTORY))
    assert said(example) == [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    assert isinstance(example, Example)
    assert example.system == "Be brief."


def test_history_is_not_read_unless_columns_name_it() -> None:
    row = {"instruction": "c", "output": "d", "history": [["a", "b"]]}
    assert said(convert(row, alpaca())) == [("user", "c"), ("assistant", "d")]


def test_sharegpt_takes_a_leading_system_message_over_the_column() -> None:
    row = {
        "conversations": [
            {"from": "system", "value": "said"},
            {"from": "human", "value": "a"},
            {"from": "function_call", "value": "{}"},
            {"from": "observation", "value": "b"},
            {"from": "gpt", "value": "c"},
        ],
        "system": "column",
        "tools": [{"name": "x"}],
    }
    columns = {"messages": "conversations", "system": "system", "tools": "tools"}
    example = convert(row, sharegpt(columns=columns))
    assert said(example) == [("user", "a"), ("function", "{}"), ("observation", "b"), ("assistant", "c")]
    assert isinstance(example, Example)
    assert (example.system, example.tools) == ("said", '[{"name": "x"}]')


def test_a_tag_that_tags_do_not_name_does_not_exist() -> None:
    row = {"conversations": [{"role": "observation", "content": "a"}, {"role": "assistant", "content": "b"}]}
    assert convert(row, sharegpt(tags=TAGS)) == BadRow(
        reason="message 1: role 'observation' is not known; known: 'user', 'assistant'"
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "a"}, "output: expected a text to learn, got nothing"),
        ({"instruction": "a", "output": 3}, "output: expected a text to learn, got int 3"),
        ({"instruction": ["a"], "output": "b"}, "instruction: expected a text, got list ['a']"),
        (["a"], "expected an object, got list ['a']"),
    ],
)
def test_bad_alpaca_rows_say_why(row: Any, reason: str) -> None:
    assert convert(row, alpaca()) == BadRow(reason=reason)


@pytest.mark.parametrize("history", ["text", [["a"]], [["a", None]], [{"a": "b"}]])
def test_bad_history_is_told(history: Any) -> None:
    row = {"instruction": "c", "output": "d", "history": history}
    bad = convert(row, alpaca(columns=HISTORY))
    assert isinstance(bad, BadRow)
    assert bad.reason.startswith("history: expected")


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (None, "conversations: expected a list of messages, got nothing"),
        ([], "conversations: expected a list of messages, got list []"),
        ([{"from": "human", "value": "a"}], "1 messages: expected turns of two, a question and its answer"),
        ([{"from": "system", "value": "a"}], "0 messages: expected turns of two, a question and its answer"),
        (
            [{"from": "gpt", "value": "a"}, {"from": "human", "value": "b"}],
            "message 1: role 'gpt' where user or observation must speak",
        ),
        ([{"role": "human", "content": "a"}], "message: 'from' is missing or no text; it has 'role', 'content'"),
        ([{"from": "human", "value": None}], "message of 'human': 'value': expected a text, got nothing"),
        (["a"], "message: expected an object, got str 'a'"),
    ],
)
def test_bad_sharegpt_rows_say_why(messages: Any, reason: str) -> None:
    assert convert({"conversations": messages}, sharegpt()) == BadRow(reason=reason)
