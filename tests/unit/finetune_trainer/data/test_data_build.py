"""The whole room: train.yaml's data keys to token ids, labels and the report."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.unit.finetune_trainer.data.data_folder import Folder, load_tokenizer, rows

from finetune_trainer import template as templates
from finetune_trainer.data import DataInvalid, build


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.shows("dataset")
def test_data_sets_follow_each_other_and_only_answers_are_learned(folder: Folder) -> None:
    folder.add("one", rows(2))
    folder.add("two", rows(2, start=10))
    prepared = folder.build()
    assert folder.answers(prepared) == ["it is 0", "it is 1", "it is 10", "it is 11"]
    assert prepared.train.column_names == ["input_ids", "labels"]
    first = prepared.train[0]
    assert len(first["input_ids"]) == len(first["labels"])
    assert "number 0" in folder.tokenizer.decode(first["input_ids"])
    assert prepared.eval is None


def test_no_row_left_is_an_error_with_the_first_three(folder: Folder) -> None:
    folder.add("one", [{"instruction": "a"}] * 5)
    with pytest.raises(DataInvalid) as refused:
        folder.build()
    head, *lines = str(refused.value).splitlines()
    assert head == "train: none of the 5 rows can be used:"
    where = folder.path / "one.jsonl"
    assert lines[0].startswith(f"one: {where}:1: no answer: ")
    assert lines[3] == "... and 2 more"


def test_a_file_without_rows_is_refused(folder: Folder) -> None:
    folder.add("one", rows(1))
    folder.add("nothing", [])
    (folder.path / "nothing.jsonl").write_text("\n\n\n")
    with pytest.raises(DataInvalid, match=r"dataset 'nothing': .*nothing\.jsonl: holds no row"):
        folder.build()


def test_a_call_that_is_not_json_is_refused_with_its_place(folder: Folder) -> None:
    call = [{"from": "human", "value": "a"}, {"from": "function_call", "value": "not json"}]
    fine = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    folder.add("one", [{"conversations": fine}, {"conversations": call}], formatting="sharegpt")
    with pytest.raises(
        DataInvalid, match=r"train: 1 row cannot be used(.|\n)*one\.jsonl:2: a function call is not JSON: "
    ):
        folder.build()


def test_a_column_that_no_row_has_is_refused(folder: Folder) -> None:
    columns = {"prompt": "instruction", "response": "output", "system": "sytem"}
    folder.add("one", rows(3), columns=columns)
    with pytest.raises(DataInvalid, match="no row has 'sytem'; the rows have 'input', 'instruction'"):
        folder.build()


@pytest.mark.shows("max_samples")
def test_max_samples_takes_the_first_of_each(folder: Folder) -> None:
    folder.add("one", rows(3))
    folder.add("two", rows(1, start=10))
    prepared = folder.build(max_samples=2)
    assert folder.answers(prepared) == ["it is 0", "it is 1", "it is 10"]
    assert prepared.report.parts["train"].rows_read == 3


def test_num_samples_draws_and_repeats_by_the_seed(folder: Folder) -> None:
    folder.add("few", rows(6), num_samples=4)
    folder.add("many", rows(3, start=10), num_samples=7)
    drawn = folder.answers(folder.build())
    few, many = drawn[:4], drawn[4:]
    assert len(set(few)) == 4
    assert len(many) == 7
    assert set(many[:3]) == {"it is 10", "it is 11", "it is 12"}
    assert drawn == folder.answers(folder.build())
    assert drawn != folder.answers(folder.build(seed=7))


@pytest.mark.parametrize(("val_size", "expected"), [(0.25, 2), (3, 3)])
@pytest.mark.shows("val_size")
def test_val_size_holds_rows_out(val_size: float, expected: int, folder: Folder) -> None:
    folder.add("one", rows(8))
    prepared = folder.build(val_size=val_size, eval_strategy="epoch")
    assert prepared.eval is not None
    assert (len(prepared.train), len(prepared.eval)) == (8 - expected, expected)
    assert prepared.report.parts["eval"].rows_kept == expected
    kept = {tuple(row["input_ids"]) for row in prepared.train} | {tuple(row["input_ids"]) for row in prepared.eval}
    assert len(kept) == 8


def test_a_val_size_that_leaves_nothing_is_refused(folder: Folder) -> None:
    folder.add("one", rows(3))
    with pytest.raises(DataInvalid, match="val_size: cannot hold out 5 of 3 rows"):
        folder.build(val_size=5, eval_strategy="epoch")


@pytest.mark.shows("eval_dataset")
def test_eval_data_sets_are_read_too(folder: Folder) -> None:
    folder.add("one", rows(2))
    folder.add("held", rows(3, start=50))
    prepared = folder.build(dataset="one", eval_dataset="held", eval_strategy="epoch")
    assert prepared.eval is not None
    assert (len(prepared.train), len(prepared.eval)) == (2, 3)
    assert "it is 50" in folder.tokenizer.decode(prepared.eval[0]["input_ids"])


@pytest.mark.shows("default_system")
def test_default_system_is_used(folder: Folder) -> None:
    folder.add("one", rows(1))
    ids = folder.build(default_system="Be brief.").train[0]["input_ids"]
    assert "system\nBe brief.<|im_end|>" in folder.tokenizer.decode(ids)


def test_an_unknown_template_is_refused(folder: Folder) -> None:
    folder.add("one", rows(1))
    with pytest.raises(templates.TemplateUnknown, match="did you mean qwen"):
        folder.build(template="qwn")


def test_faults_of_train_and_eval_are_told_together(folder: Folder) -> None:
    folder.add("one", rows(1))
    with pytest.raises(DataInvalid) as refused:
        folder.build(dataset="on", eval_dataset="eva", eval_strategy="epoch")
    assert [line.split()[1] for line in str(refused.value).splitlines()] == ["'on'", "'eva'"]


@pytest.mark.shows("template")
def test_no_template_is_the_tokenizers_own(folder: Folder) -> None:
    folder.add("one", rows(1))
    folder.tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    prepared = folder.build(template=None)
    text = "<|im_start|>user\nnumber 0<|im_end|>\n<|im_start|>assistant\nit is 0<|im_end|>\n"
    assert folder.tokenizer.decode(prepared.train[0]["input_ids"]) == text
    assert any("chat template" in note for note in prepared.report.notes)


@pytest.mark.shows("template_file")
def test_a_template_of_the_users_own_file(folder: Folder, tmp_path: Path) -> None:
    folder.add("one", rows(1))
    (tmp_path / "mine.yaml").write_text("mine:\n  user: ['Q: {{content}} A: ']\n  assistant: ['{{content}}.']\n")
    prepared = folder.build(template="mine", template_file=str(tmp_path / "mine.yaml"))
    assert folder.tokenizer.decode(prepared.train[0]["input_ids"]) == "Q: number 0 A: it is 0."
    assert prepared.report.template == "mine"


@pytest.mark.shows("eval_on_each_dataset")
def test_eval_on_each_dataset_gives_parts_by_name(folder: Folder) -> None:
    for name, start in (("one", 0), ("low", 10), ("high", 20)):
        folder.add(name, rows(2 if name == "low" else 3, start=start))
    keys: dict[str, Any] = {"dataset": "one", "eval_dataset": "low,high", "eval_strategy": "epoch"}
    prepared = folder.build(**keys, eval_on_each_dataset=True)
    assert isinstance(prepared.eval, dict)
    assert {name: len(part) for name, part in prepared.eval.items()} == {"low": 2, "high": 3}
    assert list(prepared.report.parts) == ["train", "eval_low", "eval_high"]
    merged = folder.build(**keys).eval
    assert not isinstance(merged, dict | None)
    assert len(merged) == 5


def test_the_same_name_twice_is_read_once_and_said(folder: Folder) -> None:
    folder.add("one", rows(2))
    prepared = folder.build(dataset="one,one")
    assert len(prepared.train) == 2
    assert prepared.report.notes == (
        "dataset: 'one' is named more than once; its rows are read once, as in LLaMA-Factory",
    )


@pytest.mark.shows("on_bad_row")
def test_on_bad_row_fail_names_the_rows(folder: Folder) -> None:
    folder.add("one", [*rows(2), {"instruction": "no answer"}, {"output": 3}, *rows(1)])
    assert len(folder.build().train) == 3
    with pytest.raises(DataInvalid) as refused:
        folder.build(on_bad_row="fail")
    head, *lines = str(refused.value).splitlines()
    where = folder.path / "one.jsonl"
    assert head == "train: 2 rows cannot be used; mend or remove them:"
    assert [line.split(": ")[:3] for line in lines] == [
        ["one", f"{where}:3", "no answer"],
        ["one", f"{where}:4", "a column of the wrong type"],
    ]


def test_bad_rows_that_are_not_chosen_do_no_harm(folder: Folder) -> None:
    folder.add("one", [*rows(2), {"instruction": "no answer"}])
    assert len(folder.build(on_bad_row="fail", max_samples=2).train) == 2


@pytest.mark.parametrize("packing", [{"packing": True}, {"neat_packing": True, "packing": True}])
@pytest.mark.shows("packing", "neat_packing")
def test_packed_rows_are_full_and_hold_all_tokens(packing: dict[str, bool], folder: Folder) -> None:
    folder.add("one", [*rows(30), {"instruction": "no answer"}])
    alone = folder.build(cutoff_len=63)
    packed = folder.build(cutoff_len=64, **packing)
    assert packed.train.column_names == ["input_ids", "labels", "attention_mask", "position_ids"]
    assert {len(row[name]) for row in packed.train for name in packed.train.column_names} == {64}
    assert sum(label >= 0 for row in packed.train for label in row["labels"]) == sum(
        label >= 0 for row in alone.train for label in row["labels"]
    )
    counted = packed.report.parts["train"]
    assert counted.packed is not None
    assert (counted.packed.sequences, counted.packed.tokens) == (len(packed.train), 64 * len(packed.train))
    assert (counted.rows_kept, counted.rows_dropped) == (30, 1)


def test_documents_are_cut_in_blocks_and_the_rest_is_counted(folder: Folder) -> None:
    folder.add("text", [{"text": "word " * 51}] * 4, columns={"prompt": "text"})
    prepared = folder.build(stage="pt", cutoff_len=32)
    counted = prepared.report.parts["train"]
    assert counted.packed is not None
    assert prepared.train.column_names == ["input_ids"]
    assert {len(row["input_ids"]) for row in prepared.train} == {32}
    assert counted.tokens == 32 * len(prepared.train) + counted.packed.tokens_left_out
    assert 0 < counted.packed.tokens_left_out < 32
    with pytest.raises(DataInvalid, match=r"train: its rows have .* tokens, which do not fill one sequence"):
        folder.build(stage="pt", cutoff_len=4096)


def test_kto_pairs_good_rows_in_order(folder: Folder) -> None:
    told = [{"instruction": f"number {i}", "output": f"it is {i}", "label": i % 2 == 0} for i in range(4)]
    columns = {"prompt": "instruction", "response": "output", "kto_tag": "label"}
    folder.add("kto", [*told[:2], {"instruction": "none", "label": True}, *told[2:]], columns=columns)
    train = folder.build(stage="kto").train
    assert train.column_names == ["input_ids", "labels", "kl_input_ids", "kl_labels", "kto_tags"]
    assert [row["kto_tags"] for row in train] == [[1], [0], [1], [0]]
    partners = [folder.tokenizer.decode([label for label in row["kl_labels"] if label >= 0]) for row in train]
    assert [text.removesuffix("<|im_end|>\n") for text in partners] == ["it is 3", "it is 0", "it is 1", "it is 2"]


def test_pairs_have_four_columns(folder: Folder) -> None:
    columns = {"prompt": "instruction", "chosen": "good", "rejected": "bad"}
    folder.add("pairs", [{"instruction": "a", "good": "yes", "bad": "no"}], ranking=True, columns=columns)
    train = folder.build(stage="dpo").train
    assert train.column_names == ["chosen_input_ids", "chosen_labels", "rejected_input_ids", "rejected_labels"]


def test_packing_over_several_data_sets_and_windows_is_the_same_with_workers(folder: Folder) -> None:
    folder.add("one", [*rows(25), {"instruction": "no answer"}])
    folder.add("two", rows(25, start=100))
    keys: dict[str, Any] = {"packing": True, "cutoff_len": 64, "preprocessing_batch_size": 7, "val_size": 0.2}
    alone = folder.build(**keys, eval_strategy="epoch")
    again = folder.build(**keys, eval_strategy="epoch", overwrite_cache=True)
    assert alone.train.to_list() == again.train.to_list()
    assert len(alone.train) > 1
    # As in LLaMA-Factory, two processes have a stretch of rows each, so other rows share a window.
    pair = folder.build(**keys, eval_strategy="epoch", preprocessing_num_workers=2)
    learned = [sorted(label for row in each.train for label in row["labels"] if label >= 0) for each in (alone, pair)]
    assert learned[0] == learned[1]


def test_a_dated_tool_list_makes_new_tokens_each_day(folder: Folder) -> None:
    tools = '[{"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}]'
    folder.tokenizer = load_tokenizer("llama3")
    folder.add("plain", rows(1))
    folder.add(
        "tools",
        [{**rows(1)[0], "tools": tools}],
        columns={"prompt": "instruction", "response": "output", "tools": "tools"},
    )
    cfg = folder.config(template="llama3")
    made = [build(cfg, folder.tokenizer, cache_dir=folder.cache, today=date(2026, 1, day)) for day in (2, 3)]
    assert made[0].train[0] == made[1].train[0]
    texts = [folder.tokenizer.decode(each.train[1]["input_ids"]) for each in made]
    assert ["Today Date: 02 Jan 2026" in texts[0], "Today Date: 03 Jan 2026" in texts[1]] == [True, True]
    assert len(list(folder.cache.glob("tokens-*"))) == 3


@pytest.mark.shows("tool_format")
def test_tools_are_told_in_the_format_that_is_named(folder: Folder) -> None:
    said = [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "hi"}]
    tools = json.dumps([{"name": "clock", "description": "", "parameters": {"type": "object", "properties": {}}}])
    columns = {"messages": "conversations", "tools": "tools"}
    folder.add("one", [{"conversations": said, "tools": tools}], formatting="sharegpt", columns=columns)
    rows = [folder.build(tool_format=name).train[0] for name in (None, "llama3")]
    qwen, llama3 = (folder.tokenizer.decode(row["input_ids"]) for row in rows)
    assert "<tools>" in qwen
    assert "<tools>" not in llama3
    assert "clock" in llama3
