"""Stage sft: which tokens of a conversation are learned, what is cut, and what is told about a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from talks import THOUGHT, bare, encoder, ids, talk
from transformers import PreTrainedTokenizerBase

from finetune_trainer import encode, template
from finetune_trainer.differences import Faults
from finetune_trainer.examples import IGNORE_INDEX, BadRow, Change, Example, Message, Reason
from finetune_trainer.template.slots import Special, Text, Token

EMPTY = "<think>\n\n</think>\n\n"
TOOLS = '[{"name": "look", "description": "Look.", "parameters": {"properties": {}}}]'


def one(
    example: Example, chosen: template.Template, tokenizer: PreTrainedTokenizerBase, **options: Any
) -> tuple[list[int], list[int]]:
    """Ids and labels of a row that is good."""
    encoded = encoder("sft", chosen, tokenizer, **options).encode([example])
    assert not encoded.bad
    return encoded.columns["input_ids"].rows()[0], encoded.columns["labels"].rows()[0]


def learned(labels: list[int]) -> list[int]:
    return [label for label in labels if label != IGNORE_INDEX]


def efficient(**fields: Any) -> template.Template:
    return bare(assistant=(Text("{{content}}"),), efficient_eos=True, **fields)


def test_every_answer_is_learned_with_its_end_and_nothing_else(tokenizer: PreTrainedTokenizerBase) -> None:
    eos = [tokenizer.eos_token_id]
    input_ids, labels = one(talk("a", "b", "c", "d"), bare(), tokenizer)
    first, second = ids(tokenizer, "<_user>a<_bot>"), ids(tokenizer, "<_user>c<_bot>")
    b, d = ids(tokenizer, "b") + eos, ids(tokenizer, "d") + eos
    assert input_ids == first + b + second + d
    assert labels == [IGNORE_INDEX] * len(first) + b + [IGNORE_INDEX] * len(second) + d


@pytest.mark.shows("train_on_prompt")
def test_train_on_prompt_learns_everything(tokenizer: PreTrainedTokenizerBase) -> None:
    input_ids, labels = one(talk("a", "b", "c", "d", system="s"), bare(), tokenizer, train_on_prompt=True)
    assert labels == input_ids


@pytest.mark.shows("mask_history")
def test_mask_history_learns_the_last_answer_only(tokenizer: PreTrainedTokenizerBase) -> None:
    input_ids, labels = one(talk("a", "b", "c", "d"), bare(), tokenizer, mask_history=True)
    assert input_ids == one(talk("a", "b", "c", "d"), bare(), tokenizer)[0]
    assert learned(labels) == [*ids(tokenizer, "d"), tokenizer.eos_token_id]


def test_no_merge_crosses_a_slot_border(tokenizer: PreTrainedTokenizerBase) -> None:
    word = next(w for w in ("model", "while", "train") if len(ids(tokenizer, w)) == 1)
    halves = bare(user=(Text("{{content}}"),), assistant=(Text(word[:2]), Text(word[2:]), Text("{{content}}")))
    assert one(talk("a", "b"), halves, tokenizer)[0] == ids(tokenizer, "a", word[:2], word[2:], "b")


def test_token_slots_are_single_ids(tokenizer: PreTrainedTokenizerBase) -> None:
    eot = tokenizer.convert_tokens_to_ids("<|eot_id|>")
    assert one(talk("a", "b"), bare(user=(Token("<|eot_id|>"), Text("{{content}}"))), tokenizer)[0][0] == eot


def test_a_token_that_the_vocabulary_lacks_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    gone = bare(user=(Token("<gone>"), Text("{{content}}")))
    with pytest.raises(template.TemplateInvalid, match="has no token '<gone>'; is it the model's"):
        encoder("sft", gone, tokenizer)
    fault = Faults(missing_tokens=True)
    assert one(talk("a", "b"), gone, tokenizer, faults=fault)[0][0] == -1  # LLaMA-Factory's null
    tokenizer.unk_token = "<unk>"
    assert one(talk("a", "b"), gone, tokenizer, faults=fault)[0][0] == tokenizer.unk_token_id


def test_special_slots_vanish_where_the_tokenizer_has_none(tokenizer: PreTrainedTokenizerBase) -> None:
    with_bos = one(talk("a", "b"), bare(prefix=(Special("bos"),)), tokenizer)
    tokenizer.bos_token = None
    without = one(talk("a", "b"), bare(prefix=(Special("bos"),)), tokenizer)
    assert with_bos[0][1:] == without[0]


def test_efficient_eos_ends_once_and_is_learned_where_the_next_turn_begins(tokenizer: PreTrainedTokenizerBase) -> None:
    eos = tokenizer.eos_token_id
    input_ids, labels = one(talk("a", "b", "c", "d"), efficient(), tokenizer)
    second = len(ids(tokenizer, "<_user>a<_bot>", "b"))
    assert input_ids.count(eos) == 1
    assert labels[-1] == input_ids[-1] == labels[second] == eos
    assert labels[0] == labels[second + 1] == IGNORE_INDEX


def test_difference_6_masked_turns_learn_no_eos_unless_the_fault_is_asked_for(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    eos, d = tokenizer.eos_token_id, ids(tokenizer, "d")
    _, labels = one(talk("a", "b", "c", "d"), efficient(), tokenizer, mask_history=True)
    assert learned(labels) == [*d, eos]
    fault = Faults(eos_on_masked_turns=True)
    _, labels = one(talk("a", "b", "c", "d"), efficient(), tokenizer, mask_history=True, faults=fault)
    assert labels[0] == eos
    assert learned(labels) == [eos, *d, eos]


def test_efficient_eos_keeps_a_place_for_itself(tokenizer: PreTrainedTokenizerBase) -> None:
    made = encoder("sft", efficient(), tokenizer, cutoff_len=12)
    encoded = made.encode([talk("word " * 30, "word " * 30)])
    (row,) = encoded.columns["input_ids"].rows()
    assert len(row) == 12
    assert row[-1] == tokenizer.eos_token_id
    assert encoded.truncated.tolist() == [True]


def test_train_on_prompt_is_refused_with_efficient_eos(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(template.TemplateInvalid, match="train_on_prompt: not possible with template"):
        encoder("sft", efficient(), tokenizer, train_on_prompt=True)


@pytest.mark.parametrize(
    ("source", "target", "kept"),
    [
        pytest.param(40, 4, (16, 4), id="a short answer stays whole, the prompt gives way"),
        pytest.param(4, 40, (4, 16), id="a short prompt stays whole, the answer gives way"),
        pytest.param(30, 60, (7, 13), id="both give way in proportion"),
        pytest.param(10, 10, (10, 10), id="nothing is cut that fits"),
    ],
)
@pytest.mark.shows("cutoff_len")
def test_what_is_cut_of_a_turn(
    source: int, target: int, kept: tuple[int, int], tokenizer: PreTrainedTokenizerBase
) -> None:
    plain = bare(user=(Text("{{content}}"),), assistant=(Text("{{content}}"),))
    words = {count: "1" * count for count in (source, target)}
    lengths = {count: len(ids(tokenizer, text)) for count, text in words.items()}
    halves = {count: text * 2 if lengths[count] * 2 == count else text for count, text in words.items()}
    assert [len(ids(tokenizer, halves[count])) for count in (source, target)] == [source, target]
    made = encoder("sft", plain, tokenizer, cutoff_len=20)
    encoded = made.encode([talk(halves[source], halves[target])])
    labels = np.array(encoded.columns["labels"].rows()[0])
    assert (int((labels == IGNORE_INDEX).sum()), int((labels != IGNORE_INDEX).sum())) == kept
    assert encoded.truncated.tolist() == [source + target > 20]


def test_turns_that_find_no_room_vanish_the_last_ones_first_the_first_ones_with_mask_history(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    example = talk("a", "b", "c", "d")
    half = len(one(example, bare(), tokenizer)[0]) // 2
    first, _ = one(example, bare(), tokenizer, cutoff_len=half)
    last, labels = one(example, bare(), tokenizer, cutoff_len=half, mask_history=True)
    assert first == one(talk("a", "b"), bare(), tokenizer)[0]
    assert last == one(talk("c", "d"), bare(), tokenizer)[0]
    assert learned(labels) == [*ids(tokenizer, "d"), tokenizer.eos_token_id]


def test_packing_that_is_said_takes_one_token_of_each_row(tokenizer: PreTrainedTokenizerBase) -> None:
    example = talk("word " * 30, "word " * 30)
    for options, length in (({}, 20), ({"packing": True}, 19), ({"neat_packing": True}, 19), ({"packing": False}, 20)):
        assert len(one(example, bare(), tokenizer, cutoff_len=20, **options)[0]) == length


def test_packed_rows_end_with_the_tokenizers_pad(tokenizer: PreTrainedTokenizerBase) -> None:
    made = encoder("sft", bare(), tokenizer, cutoff_len=64, neat_packing=True)
    assert made.finish is not None
    final = made.finish(made.encode([talk("a", "b"), talk("c", "d")]).columns)
    assert tuple(final) == made.final
    assert final["input_ids"].row(0)[-1] == tokenizer.pad_token_id
    assert set(final["attention_mask"].row(0).tolist()) == {0, 1, 2}


def test_a_batch_gives_what_its_rows_give_alone(tokenizer: PreTrainedTokenizerBase) -> None:
    made = encoder("sft", template.get("llama3"), tokenizer, cutoff_len=30)
    rows = [talk("a", "b"), talk("a"), talk("a", "b", "longer  text\n" * 20, "d"), talk("模型", "")]
    together = made.encode(rows)
    for number, row in enumerate(rows):
        alone = made.encode([row])
        for name in made.columns:
            assert alone.columns[name].rows()[0] == together.columns[name].rows()[number]
        assert alone.truncated[0] == together.truncated[number]
        assert alone.bad.get(0) == together.bad.get(number)
        assert alone.changed.get(0) == together.changed.get(number)
    assert together.truncated.tolist() == [False, False, True, False]


def test_no_rows_at_all(tokenizer: PreTrainedTokenizerBase) -> None:
    for stage in ("sft", "rm", "kto", "ppo", "pt"):
        made = encoder(stage, bare(), tokenizer)
        for rows in ([], [Example(prompt=())]):
            encoded = made.encode(rows)
            assert [len(encoded.columns[name]) for name in made.columns] == [len(rows)] * len(made.columns)


@pytest.mark.parametrize(
    ("enable", "answer", "source", "target"),
    [
        (True, "b", "", f"{EMPTY}b"),
        (True, f"{THOUGHT}b", "", f"{THOUGHT}b"),
        (False, "b", EMPTY, "b"),
        (False, f"{THOUGHT}b", EMPTY, "b"),
        (None, "b", EMPTY, "b"),
        (None, f"{THOUGHT}b", "", f"{THOUGHT}b"),
    ],
)
@pytest.mark.shows("enable_thinking")
def test_thoughts_of_a_reasoning_template(
    enable: bool | None, answer: str, source: str, target: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    input_ids, labels = one(talk("a", answer), bare("qwen3"), tokenizer, enable_thinking=enable)
    assert tokenizer.decode(learned(labels)) == f"{target}<|im_end|>\n"
    assert tokenizer.decode(input_ids).endswith(f"<|im_start|>assistant\n{source}{target}<|im_end|>\n")


@pytest.mark.shows("preserve_thinking")
def test_earlier_thoughts_are_kept_unless_history_is_masked_and_not_preserved(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    example = talk("a", f"{THOUGHT}b", "c", f"{THOUGHT}d")
    for options, kept in (
        ({}, 2),
        ({"mask_history": True}, 1),
        ({"mask_history": True, "preserve_thinking": True}, 2),
        ({"enable_thinking": False}, 0),
    ):
        made = encoder("sft", bare("qwen3"), tokenizer, **options)
        encoded = made.encode([example])
        assert tokenizer.decode(encoded.columns["input_ids"].row(0)).count("why") == kept
        assert (encoded.changed.get(0) == (Change.THOUGHT_REMOVED,)) == (kept < 2)


def test_thoughts_are_text_to_templates_that_do_not_reason(tokenizer: PreTrainedTokenizerBase) -> None:
    example = talk("a", f"{THOUGHT}b")
    for enable in (True, False, None):
        input_ids, _ = one(example, bare("qwen"), tokenizer, enable_thinking=enable)
        assert tokenizer.decode(input_ids).endswith(f"{THOUGHT}b<|im_end|>\n")


def test_line_breaks_that_go_with_thoughts_are_told(tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = encoder("sft", bare("qwen3"), tokenizer, enable_thinking=False).encode([talk("a", "\n\nb")])
    assert encoded.changed == {0: (Change.LEADING_BREAKS,)}


def test_the_system_text_stands_inside_the_first_user_of_llama2(tokenizer: PreTrainedTokenizerBase) -> None:
    input_ids, _ = one(talk("a", "b", "c", "d", system="Be brief."), template.get("llama2"), tokenizer)
    written = tokenizer.decode(input_ids)
    assert written.count("Be brief.") == 1
    assert written.index("[INST]") < written.index("Be brief.") < written.index("a [/INST]")


def test_an_eos_that_the_template_replaces_ends_answers(tokenizer: PreTrainedTokenizerBase) -> None:
    chatml = template.get("chatml")
    _, labels = one(talk("a", "b"), chatml, tokenizer)
    assert tokenizer.eos_token == "<|im_end|>"
    assert learned(labels) == ids(tokenizer, "b<|im_end|>\n")
    assert tokenizer.eos_token_id in labels


def test_rows_without_one_answer_are_bad(tokenizer: PreTrainedTokenizerBase) -> None:
    none = talk("a", "b")._replace(answers=())
    two = talk("a", "b")._replace(answers=talk("a", "b").answers * 2)
    even = talk("a", "b", "c")
    encoded = encoder("sft", bare(), tokenizer).encode([none, talk("a", "b"), two, even, Example(prompt=())])
    assert {number: bad.reason for number, bad in encoded.bad.items()} == {
        0: Reason.NO_ANSWER,
        2: Reason.NO_ANSWER,
        3: Reason.TURNS,
        4: Reason.NO_MESSAGES,
    }
    assert not any(bad.refused for bad in encoded.bad.values())
    assert encoded.bad[0].detail == "the row has no answer; stage sft needs one"
    assert encoded.columns["input_ids"].lengths.astype(bool).tolist() == [False, True, False, False, False]


@pytest.mark.parametrize("tools", ["not json", "[{}]", "[1]", '[{"name": "x", "parameters": 1}]'])
def test_faulty_tools_refuse_the_row(tools: str, tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = encoder("sft", bare(), tokenizer).encode([talk("a", "b", tools=tools)])
    assert (encoded.bad[0].reason, encoded.bad[0].refused) == (Reason.BAD_TOOLS, True)
    assert encoded.bad[0].detail.startswith("tools: ")


def test_calls_that_are_not_json_refuse_the_row(tokenizer: PreTrainedTokenizerBase) -> None:
    example = talk("a", "b", tools=TOOLS)._replace(answers=(Message("function", "look"),))
    encoded = encoder("sft", bare(), tokenizer).encode([example])
    assert (encoded.bad[0].reason, encoded.bad[0].refused) == (Reason.BAD_CALL, True)


def test_half_a_surrogate_pair_is_a_bad_row_and_the_others_are_encoded(tokenizer: PreTrainedTokenizerBase) -> None:
    made = encoder("sft", bare(), tokenizer)
    encoded = made.encode([talk("a", "b"), talk("before \ud83d after", "b"), talk("c", "d")])
    assert encoded.bad == {
        1: BadRow(
            Reason.NOT_UNICODE,
            "half of a surrogate pair in '<_user>before \\ud83d after<_bot>';"
            " write the whole character, or leave it out",
        )
    }
    assert encoded.columns["input_ids"].row(2).tolist() == one(talk("c", "d"), bare(), tokenizer)[0]


def test_an_empty_answer_is_told_once(tokenizer: PreTrainedTokenizerBase) -> None:
    made = encoder("sft", bare(), tokenizer)
    known = talk("a", "", changed=(Change.EMPTY_ANSWER,))
    assert made.encode([talk("a", "", "b", "c"), known]).changed == {0: (Change.EMPTY_ANSWER,)}


def test_a_row_of_which_nothing_is_learned_is_told(tokenizer: PreTrainedTokenizerBase) -> None:
    silent = bare(assistant=(Text("{{content}}"),))
    assert Change.NOTHING_LEARNED in encoder("sft", silent, tokenizer).encode([talk("a", "")]).changed[0]


def test_the_columns_are_arrows_layout(tokenizer: PreTrainedTokenizerBase) -> None:
    encoded: encode.Encoded = encoder("sft", bare(), tokenizer).encode([talk("a", "b"), talk("c", "d")])
    for column in encoded.columns.values():
        assert (column.values.dtype, column.offsets.dtype) == (np.int32, np.int64)
        assert (column.offsets[0], column.offsets[-1]) == (0, len(column.values))
