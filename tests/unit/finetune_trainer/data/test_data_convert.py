"""Rows to examples: what LLaMA-Factory's rules make of them, and why a row is none."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from finetune_trainer.data.convert import FORMATS, converter
from finetune_trainer.data.entry import Entry, parse
from finetune_trainer.differences import AS_LLAMAFACTORY, MENDED, Faults
from finetune_trainer.examples import BadRow, Change, Example, Reason

ALPACA = {"prompt": "instruction", "query": "input", "response": "output"}
HISTORY = ALPACA | {"history": "history", "system": "sys", "tools": "tools"}
MESSAGES = {"messages": "conversations", "system": "system", "tools": "tools"}
PAIR = {"chosen": "chosen", "rejected": "rejected"}


def entry(formatting: str = "alpaca", stage: str = "sft", **other: Any) -> Entry:
    return parse("demo", {"file_name": "demo.json", "formatting": formatting, **other}, stage=stage)


def convert(row: object, of: Entry, faults: Faults = MENDED) -> Example | BadRow:
    return converter(of, faults)(row)


def good(row: object, of: Entry, faults: Faults = MENDED) -> Example:
    example = convert(row, of, faults)
    assert isinstance(example, Example), example
    return example


def said(example: Example) -> list[tuple[str, str]]:
    return [tuple(message) for message in (*example.prompt, *example.answers)]


def chat(*messages: tuple[str, Any]) -> dict[str, Any]:
    return {"conversations": [{"from": role, "value": content} for role, content in messages]}


def test_every_format_has_a_reader_and_no_entry_has_another() -> None:
    assert set(FORMATS) == {"alpaca", "sharegpt", "openai"}
    for formatting in FORMATS:
        assert convert([], entry(formatting)) == BadRow(
            Reason.NOT_AN_OBJECT, "expected an object with columns, got an empty list"
        )


@pytest.mark.parametrize(
    ("instruction", "more", "user"),
    [("Add", "1 2", "Add\n1 2"), ("Hi", "", "Hi"), ("Hi", None, "Hi"), ("", "1", "1"), (None, None, "")],
)
def test_alpaca_joins_what_instruction_and_input_say(instruction: Any, more: Any, user: str) -> None:
    example = good({"instruction": instruction, "input": more, "output": "3"}, entry())
    assert (example.prompt, example.answers) == ((("user", user),), (("assistant", "3"),))
    assert (example.system, example.tools, example.liked, example.changed) == ("", "", None, ())


def test_alpaca_history_comes_before_and_is_read_only_where_columns_name_it() -> None:
    row = {"instruction": "c", "input": "i", "output": "d", "history": [["a", "b"]], "sys": "S", "tools": "[]"}
    example = good(row, entry(columns=HISTORY))
    assert said(example) == [("user", "a"), ("assistant", "b"), ("user", "c\ni"), ("assistant", "d")]
    assert (len(example.prompt), example.system, example.tools) == (3, "S", "[]")
    assert said(good(row, entry())) == [("user", "c\ni"), ("assistant", "d")]


@pytest.mark.parametrize(
    ("history", "noted"), [("x", True), ({"a": "b"}, True), ("", False), (None, False), ([], False)]
)
def test_a_history_that_is_no_list_is_left_out_and_noted(history: Any, noted: bool) -> None:
    example = good({"instruction": "c", "output": "d", "history": history}, entry(columns=HISTORY))
    assert said(example) == [("user", "c"), ("assistant", "d")]
    assert example.changed == ((Change.HISTORY_NOT_A_LIST,) if noted else ())


def test_a_document_is_a_prompt_and_a_missing_answer_is_the_stages_affair() -> None:
    assert good({"text": "Once.", "url": "x"}, entry(columns={"prompt": "text"}, stage="pt")) == Example(
        (("user", "Once."),)  # type: ignore[arg-type] # a message equals its tuple
    )
    assert good({"instruction": "a"}, entry()).answers == ()


def test_an_empty_answer_is_kept_and_noted() -> None:
    assert good({"instruction": "a", "output": ""}, entry()).changed == (Change.EMPTY_ANSWER,)
    assert good(chat(("human", "a"), ("gpt", "")), entry("sharegpt")).changed == (Change.EMPTY_ANSWER,)


@pytest.mark.parametrize("liked", [True, False])
def test_verdicts_in_both_shapes(liked: bool) -> None:
    example = good(
        {"instruction": "a", "output": "b", "ok": liked}, entry(stage="kto", columns=ALPACA | {"kto_tag": "ok"})
    )
    assert (said(example), example.liked) == ([("user", "a"), ("assistant", "b")], liked)
    tagged = entry("sharegpt", stage="kto", columns={"messages": "conversations", "kto_tag": "ok"})
    example = good(chat(("human", "a"), ("gpt", "b")) | {"ok": liked}, tagged)
    assert (said(example), example.liked) == ([("user", "a"), ("assistant", "b")], liked)


@pytest.mark.parametrize("formatting", ["alpaca", "sharegpt"])
def test_a_row_without_a_verdict_is_dropped_unless_its_answer_is_lent_as_llamafactory_does(formatting: str) -> None:
    columns = ALPACA if formatting == "alpaca" else {"messages": "conversations"}
    tagged = entry(formatting, stage="kto", columns=columns | {"kto_tag": "ok"})
    row = chat(("human", "a"), ("gpt", "b")) | {"instruction": "a", "output": "b", "ok": "yes"}
    assert convert(row, tagged) == BadRow(Reason.NO_VERDICT, "ok: expected true or false, got the text 'yes'")
    lent = good(row, tagged, Faults(kto_partner_from_bad_row=True))
    assert (lent.answers, lent.liked) == ((("assistant", "b"),), None)


def test_preferences_in_both_shapes() -> None:
    pair = entry(stage="rm", ranking=True, columns={"prompt": "instruction", **PAIR})
    example = good({"instruction": "a", "chosen": "b", "rejected": "c"}, pair)
    assert example[:2] == ((("user", "a"),), (("assistant", "b"), ("assistant", "c")))
    pair = entry("sharegpt", stage="rm", ranking=True, columns={"messages": "conversations", **PAIR})
    answers = {"chosen": {"from": "gpt", "value": "b"}, "rejected": {"from": "function_call", "value": "{}"}}
    example = good(chat(("human", "a")) | answers, pair)
    assert example[:2] == ((("user", "a"),), (("assistant", "b"), ("function", "{}")))


@pytest.mark.shows("llamafactory_faults")
def test_difference_8_an_answer_by_the_user_is_dropped_unless_the_fault_is_asked_for() -> None:
    pair = entry("sharegpt", stage="rm", ranking=True, columns={"messages": "conversations", **PAIR})
    row = chat(("human", "a")) | {"chosen": {"from": "gpt", "value": "b"}, "rejected": {"from": "human", "value": "c"}}
    assert convert(row, pair) == BadRow(
        Reason.UNKNOWN_ROLE, "rejected: expected a message of 'gpt' or 'function_call', got 'from': 'human'"
    )
    assert good(row, pair, AS_LLAMAFACTORY).answers[1] == ("user", "c")
    row["rejected"] = {"from": "bot", "value": "c"}
    assert isinstance(convert(row, pair, AS_LLAMAFACTORY), BadRow)


def test_sharegpt_knows_five_roles() -> None:
    row = chat(("system", "S"), ("human", "a"), ("function_call", "{}"), ("observation", "b"), ("gpt", "c"))
    example = good(row | {"tools": [{"name": "é"}]}, entry("sharegpt", columns=MESSAGES))
    assert said(example) == [("user", "a"), ("function", "{}"), ("observation", "b"), ("assistant", "c")]
    assert (example.system, example.tools, example.changed) == ("S", '[{"name": "é"}]', ())


def test_a_leading_system_message_replaces_the_column_and_says_so() -> None:
    row = chat(("system", "said"), ("human", "a"), ("gpt", "b")) | {"system": "column"}
    example = good(row, entry("sharegpt", columns=MESSAGES))
    assert (example.system, example.changed) == ("said", (Change.SYSTEM_COLUMN,))
    row["conversations"] = row["conversations"][1:]
    assert good(row, entry("sharegpt", columns=MESSAGES))[2::3] == ("column", ())


def test_tags_that_are_not_named_do_not_exist() -> None:
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    row = {"conversations": [{"role": "observation", "content": "a"}, {"role": "assistant", "content": "b"}]}
    assert convert(row, entry("sharegpt", tags=tags)) == BadRow(
        Reason.UNKNOWN_ROLE, "message 1: role 'observation' is not known; known: 'user', 'assistant'"
    )


def test_media_are_refused_by_name_and_rows_without_them_are_not() -> None:
    plain = entry("sharegpt")  # of an entry that names media, `parse` would say the same before any row is read
    media = dataclasses.replace(plain, columns=dataclasses.replace(plain.columns, images="pictures"))
    row = chat(("human", "<image>a"), ("gpt", "b"))
    bad = convert(row | {"pictures": ["1.jpg"]}, media)
    assert bad == BadRow(
        Reason.MEDIA,
        "pictures: images, videos and audio are not supported yet; leave the data set, or this row, out",
        refused=True,
    )
    assert good(row | {"pictures": []}, media).answers == (("assistant", "b"),)


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ({"output": 3}, Reason.WRONG_TYPE, "output: expected a text to learn, got the number 3"),
        ({"instruction": ["a"]}, Reason.WRONG_TYPE, "instruction: expected a text, got the list ['a']"),
        ({"sys": {"a": 1}}, Reason.WRONG_TYPE, "sys: expected a text, got an object with 'a'"),
        ({"tools": 7}, Reason.BAD_TOOLS, "tools: expected a JSON list of tools, got the number 7"),
        (
            {"history": [["a", None]]},
            Reason.WRONG_TYPE,
            "history: expected pairs of two texts, the user's and the assistant's, got the list ['a', None]",
        ),
        (
            {"history": ["x" * 100]},
            Reason.WRONG_TYPE,
            f"history: expected pairs of two texts, the user's and the assistant's, got the text '{'x' * 67}...",
        ),
    ],
)
def test_bad_alpaca_rows_say_what_was_found(row: dict[str, Any], reason: Reason, detail: str) -> None:
    assert convert({"instruction": "q", "output": "b"} | row, entry(columns=HISTORY)) == BadRow(reason, detail)


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ({}, Reason.NO_MESSAGES, "conversations: expected a list of messages, got nothing"),
        (chat(), Reason.NO_MESSAGES, "conversations: expected a list of messages, got an empty list"),
        (chat(("system", "a")), Reason.NO_MESSAGES, "nothing but a system message: expected a question and an answer"),
        (
            chat(("human", "a")),
            Reason.TURNS,
            "the last of 1 messages has no answer: expected one of 'gpt' or 'function_call'",
        ),
        (
            chat(("system", "s"), ("human", "a"), ("human", "b")),
            Reason.TURNS,
            "message 3: role 'human' where 'gpt' or 'function_call' must speak; roles take turns",
        ),
        (
            chat(("human", "a"), ("bot", "b")),
            Reason.UNKNOWN_ROLE,
            "message 2: role 'bot' is not known; known: 'human', 'gpt', 'observation', 'function_call', 'system'",
        ),
        (
            {"conversations": [{"role": "user", "content": "a"}]},
            Reason.UNKNOWN_ROLE,
            "message 1: 'from': expected a role, got nothing; the message has 'role', 'content'",
        ),
        (
            chat(("human", "a"), ("gpt", None)),
            Reason.WRONG_TYPE,
            "message 2 of 'gpt': 'value': expected a text, got nothing",
        ),
        (
            chat(("system", ["s"]), ("human", "a"), ("gpt", "b")),
            Reason.WRONG_TYPE,
            "message 1 of 'system': 'value': expected a text, got the list ['s']",
        ),
        ({"conversations": ["a"]}, Reason.WRONG_TYPE, "message 1: expected an object, got the text 'a'"),
        (
            {"conversations": "a: b"},
            Reason.NO_MESSAGES,
            "conversations: expected a list of messages, got the text 'a: b'",
        ),
    ],
)
def test_bad_sharegpt_rows_say_where_and_what(row: dict[str, Any], reason: Reason, detail: str) -> None:
    assert convert(row, entry("sharegpt")) == BadRow(reason, detail)


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        (chat(("human", "a")), Reason.NO_PREFERENCE, "chosen: expected a message, got nothing"),
        (
            chat(("human", "a")) | {"chosen": "b", "rejected": "c"},
            Reason.NO_PREFERENCE,
            "chosen: expected a message, got the text 'b'",
        ),
        (
            chat(("human", "a"), ("gpt", "b")),
            Reason.TURNS,
            (
                "2 messages: expected an odd number that ends with what chosen and rejected answer,"
                " said by 'human' or 'observation'"
            ),
        ),
    ],
)
def test_bad_preference_rows(row: dict[str, Any], reason: Reason, detail: str) -> None:
    pair = entry("sharegpt", stage="rm", ranking=True, columns={"messages": "conversations", **PAIR})
    assert convert(row, pair) == BadRow(reason, detail)


def test_an_alpaca_preference_row_without_one_of_the_two() -> None:
    pair = entry(stage="rm", ranking=True, columns={"prompt": "instruction", **PAIR})
    assert convert({"instruction": "a", "chosen": "b"}, pair) == BadRow(
        Reason.NO_PREFERENCE, "rejected: expected the rejected answer, got nothing"
    )
