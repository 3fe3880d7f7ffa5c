"""Ids and labels of cases that the recorded vectors leave out, and properties of the truncation."""

from __future__ import annotations

import dataclasses
import random
from datetime import date
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from finetune_trainer import template as templates
from finetune_trainer.examples import IGNORE_INDEX, BadRow, Encoded, Example, Message
from finetune_trainer.template.encode import EncodeOptions, check, encode, infer_seqlen
from finetune_trainer.template.registry import Special, Template, Text, Token

TOKENIZER = Path(__file__).parents[3] / "conformance" / "tokenizer"
TODAY = date(2026, 1, 1)


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerBase:
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(TOKENIZER)
    return loaded


def options(**other: object) -> EncodeOptions:
    return dataclasses.replace(EncodeOptions(cutoff_len=2048, today=TODAY), **other)


def talk(*contents: str) -> Example:
    roles = ("user", "assistant")
    return Example(messages=tuple(Message(role=roles[i % 2], content=text) for i, text in enumerate(contents)))


def bare(**slots: object) -> Template:
    """Slots of a template without system text."""
    return dataclasses.replace(templates.get("telechat2"), default_system="", **slots)


def one(example: Example, template: Template, tokenizer: PreTrainedTokenizerBase, **other: object) -> Encoded:
    (encoded,) = encode([example], template, tokenizer, options(**other))
    assert isinstance(encoded, Encoded)
    return encoded


def test_no_merge_crosses_a_slot_border(tokenizer: PreTrainedTokenizerBase) -> None:
    word = next(w for w in ("model", "while", "train") if len(tokenizer.encode(w, add_special_tokens=False)) == 1)
    halves = bare(user=(Text("{{content}}"),), assistant=(Text(word[:2]), Text(word[2:]), Text("{{content}}")))
    encoded = one(talk("a", "b"), halves, tokenizer)
    apart = [number for part in ("a", word[:2], word[2:], "b") for number in tokenizer.encode(part)]
    assert encoded.input_ids == apart


def test_token_slots_are_single_ids(tokenizer: PreTrainedTokenizerBase) -> None:
    eot = tokenizer.convert_tokens_to_ids("<|eot_id|>")
    encoded = one(talk("a", "b"), bare(user=(Token("<|eot_id|>"), Text("{{content}}"))), tokenizer)
    assert encoded.input_ids[0] == eot


def test_a_token_that_the_vocabulary_lacks_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(templates.TemplateInvalid, match="has no token '<gone>'"):
        check(bare(user=(Token("<gone>"),)), tokenizer, options())


def test_special_slots_vanish_where_the_tokenizer_has_none(tokenizer: PreTrainedTokenizerBase) -> None:
    with_bos = one(talk("a", "b"), bare(prefix=(Special("bos"),)), tokenizer)
    tokenizer.bos_token = None
    without = one(talk("a", "b"), bare(prefix=(Special("bos"),)), tokenizer)
    assert with_bos.input_ids[1:] == without.input_ids


def test_efficient_eos_ends_once_and_is_learned_where_turns_begin(tokenizer: PreTrainedTokenizerBase) -> None:
    template = bare(assistant=(Text("{{content}}"),), efficient_eos=True)
    eos = tokenizer.eos_token_id
    encoded = one(talk("a", "b", "c", "d"), template, tokenizer)
    source = len(tokenizer.encode("<_user>a<_bot>"))
    assert encoded.input_ids.count(eos) == 1
    assert encoded.labels[-1] == encoded.input_ids[-1] == eos
    assert encoded.labels[source + 1] == eos  # the first token of the second turn
    assert encoded.labels[0] == IGNORE_INDEX


def test_efficient_eos_keeps_a_place_for_itself(tokenizer: PreTrainedTokenizerBase) -> None:
    template = bare(assistant=(Text("{{content}}"),), efficient_eos=True)
    encoded = one(talk("word " * 30, "word " * 30), template, tokenizer, cutoff_len=12)
    assert len(encoded.input_ids) == 12
    assert encoded.input_ids[-1] == tokenizer.eos_token_id
    assert encoded.truncated


def test_train_on_prompt_is_refused_with_efficient_eos(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(templates.TemplateInvalid, match="train_on_prompt"):
        check(bare(efficient_eos=True), tokenizer, options(train_on_prompt=True))


def test_braces_in_a_message_stay_as_they_are(tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = one(talk("{{idx}} {{content}}", "b"), bare(user=(Text("[{{idx}}] {{content}}"),)), tokenizer)
    assert tokenizer.decode(encoded.input_ids).startswith("[0] {{idx}} {{content}}")


def test_a_batch_gives_what_its_examples_give_alone(tokenizer: PreTrainedTokenizerBase) -> None:
    template = templates.get("llama3")
    templates.fix_tokenizer(tokenizer, template)
    examples = [talk("a", "b"), talk("a", "b", "longer  text\n", "d"), talk("模型", "a")]
    together = encode(examples, template, tokenizer, options())
    assert together == [one(example, template, tokenizer) for example in examples]


@pytest.mark.parametrize("tools", ["not json", "[{}]", "[1]", '[{"name": "x", "parameters": 1}]'])
def test_faulty_tools_are_a_bad_row(tools: str, tokenizer: PreTrainedTokenizerBase) -> None:
    (encoded,) = encode([dataclasses.replace(talk("a", "b"), tools=tools)], bare(), tokenizer, options())
    assert isinstance(encoded, BadRow)
    assert encoded.reason.startswith("tools: not a JSON list of tools")


def test_an_unknown_tool_format_is_refused_by_name(tokenizer: PreTrainedTokenizerBase) -> None:
    example = dataclasses.replace(talk("a", "b"), tools='[{"name": "x", "parameters": {"properties": {}}}]')
    (encoded,) = encode([example], bare(tool_format="glm4"), tokenizer, options())
    assert encoded == BadRow(reason="tool_format 'glm4' is not supported yet; supported: default, llama3, qwen")


def test_a_thought_before_a_call_is_kept(tokenizer: PreTrainedTokenizerBase) -> None:
    call = '<think>\nwhy\n</think>\n\n{"name": "look", "arguments": {}}'
    messages = (Message(role="user", content="a"), Message(role="function", content=call))
    encoded = one(Example(messages=messages), bare(), tokenizer)
    assert "<think>\nwhy\n</think>\n\nAction: look\nAction Input: {}" in tokenizer.decode(encoded.input_ids)


def test_infer_seqlen_stays_in_the_budget_and_wastes_none() -> None:
    draw = random.Random(0)
    for _ in range(2000):
        source, target, budget = draw.randrange(200), draw.randrange(1, 200), draw.randrange(1, 200)
        kept = infer_seqlen(source, target, budget)
        assert kept[0] <= source
        assert kept[1] <= target
        assert sum(kept) == min(budget, source + target)
