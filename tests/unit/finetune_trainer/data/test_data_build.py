"""The whole room: train.yaml's data keys to token ids, labels and the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from finetune_trainer import template as templates
from finetune_trainer.config import TrainConfig, parse
from finetune_trainer.data import DataInvalid, Prepared, build

TOKENIZER = Path(__file__).parents[3] / "conformance" / "tokenizer"


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"instruction": f"number {i}", "input": "", "output": f"it is {i}"} for i in range(start, start + count)]


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerBase:
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(TOKENIZER)
    templates.fix_tokenizer(loaded, templates.get("qwen"))
    return loaded


class Folder:
    """A dataset_dir with a cache beside it."""

    def __init__(self, path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        self.path = path
        self.tokenizer = tokenizer
        self.info: dict[str, Any] = {}

    def add(self, name: str, content: list[dict[str, Any]], **entry: Any) -> None:
        (self.path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
        self.info[name] = {"file_name": f"{name}.jsonl", **entry}
        (self.path / "dataset_info.json").write_text(json.dumps(self.info))

    def config(self, **keys: Any) -> TrainConfig:
        said = {"stage": "sft", "template": "qwen", "dataset_dir": str(self.path), "dataset": ",".join(self.info)}
        paths = {"model_name_or_path": "none", "output_dir": str(self.path / "out")}
        return parse(paths | said | keys)

    def build(self, **keys: Any) -> Prepared:
        return build(self.config(**keys), self.tokenizer, cache_dir=self.path / "cache")

    def answers(self, prepared: Prepared) -> list[str]:
        learned = ([label for label in row["labels"] if label >= 0] for row in prepared.train)
        return [self.tokenizer.decode(ids).removesuffix("<|im_end|>\n") for ids in learned]


@pytest.fixture
def folder(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> Folder:
    return Folder(tmp_path, tokenizer)


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


def test_the_report_counts_what_is_there(folder: Folder) -> None:
    folder.add("one", [*rows(3), {"instruction": "no answer"}, {"output": 3}])
    prepared = folder.build()
    report = prepared.report.to_dict()
    assert json.loads(json.dumps(report)) == report | {
        "train": report["train"] | {"dropped": [*report["train"]["dropped"]]}
    }
    train = report["train"]
    assert (train["rows_read"], train["rows_kept"], len(prepared.train)) == (5, 3, 3)
    assert train["tokens"] == sum(len(row["input_ids"]) for row in prepared.train)
    assert train["learned_tokens"] == sum(label >= 0 for row in prepared.train for label in row["labels"])
    assert train["dropped_by_reason"] == {
        "output: expected a text to learn, got nothing": 1,
        "output: expected a text to learn, got int 3": 1,
    }
    origins = [dropped["origin"] for dropped in train["dropped"]]
    assert origins == [{"dataset": "one", "file": str(folder.path / "one.jsonl"), "line": line} for line in (4, 5)]


def test_truncated_rows_are_counted(folder: Folder) -> None:
    folder.add("one", [*rows(1), {"instruction": "a", "output": "word " * 200}])
    report = folder.build(cutoff_len=64).report.train
    assert (report.rows_truncated, report.rows_without_labels) == (1, 0)
    assert folder.build(cutoff_len=1).report.train.rows_kept == 2


def test_no_row_left_is_an_error_with_the_first_three(folder: Folder) -> None:
    folder.add("one", [{"instruction": "a"}] * 5)
    with pytest.raises(DataInvalid) as refused:
        folder.build()
    head, *lines = str(refused.value).splitlines()
    assert head == "train: none of the 5 rows can be used:"
    where = folder.path / "one.jsonl"
    assert lines[0] == f"one: {where}:1: output: expected a text to learn, got nothing"
    assert lines[3] == "... and 2 more"


def test_an_empty_file_is_refused(folder: Folder) -> None:
    folder.add("one", rows(1))
    folder.add("nothing", [])
    with pytest.raises(DataInvalid, match=r"dataset 'nothing': .*nothing\.jsonl: holds no row"):
        folder.build()


def test_a_call_that_is_not_json_is_refused_with_its_place(folder: Folder) -> None:
    call = [{"from": "human", "value": "a"}, {"from": "function_call", "value": "not json"}]
    fine = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    folder.add("one", [{"conversations": fine}, {"conversations": call}], formatting="sharegpt")
    with pytest.raises(DataInvalid, match=r"1 rows cannot be used(.|\n)*one\.jsonl:2: function call: not JSON"):
        folder.build()


def test_a_column_that_no_row_has_is_refused(folder: Folder) -> None:
    columns = {"prompt": "instruction", "response": "output", "system": "sytem"}
    folder.add("one", rows(3), columns=columns)
    with pytest.raises(DataInvalid, match="no row has 'sytem'; the rows have 'input', 'instruction'"):
        folder.build()


def test_max_samples_takes_the_first_of_each(folder: Folder) -> None:
    folder.add("one", rows(3))
    folder.add("two", rows(1, start=10))
    prepared = folder.build(max_samples=2)
    assert folder.answers(prepared) == ["it is 0", "it is 1", "it is 10"]
    assert prepared.report.train.rows_read == 3


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
def test_val_size_holds_rows_out(val_size: float, expected: int, folder: Folder) -> None:
    folder.add("one", rows(8))
    prepared = folder.build(val_size=val_size, eval_strategy="epoch")
    assert prepared.eval is not None
    assert prepared.report.eval is not None
    assert (len(prepared.train), len(prepared.eval)) == (8 - expected, expected)
    assert prepared.report.eval.rows_kept == expected
    kept = {tuple(row["input_ids"]) for row in prepared.train} | {tuple(row["input_ids"]) for row in prepared.eval}
    assert len(kept) == 8


def test_a_val_size_that_leaves_nothing_is_refused(folder: Folder) -> None:
    folder.add("one", rows(3))
    with pytest.raises(DataInvalid, match="val_size: cannot hold out 5 of 3 rows"):
        folder.build(val_size=5, eval_strategy="epoch")


def test_eval_data_sets_are_read_too(folder: Folder) -> None:
    folder.add("one", rows(2))
    folder.add("held", rows(3, start=50))
    prepared = folder.build(dataset="one", eval_dataset="held", eval_strategy="epoch")
    assert prepared.eval is not None
    assert (len(prepared.train), len(prepared.eval)) == (2, 3)
    assert "it is 50" in folder.tokenizer.decode(prepared.eval[0]["input_ids"])


def cached(folder: Folder) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder.path / "cache").iterdir()}


def test_a_second_call_reads_the_cache_and_gives_the_same(folder: Folder) -> None:
    folder.add("one", [*rows(5), {"instruction": "bad"}])
    first = folder.build()
    files = cached(folder)
    second = folder.build()
    assert cached(folder) == files
    assert second.train.to_list() == first.train.to_list()
    assert second.report == first.report


def test_the_cache_follows_rows_options_and_seed(folder: Folder) -> None:
    folder.add("one", rows(5))
    folder.build()
    before = len(cached(folder))
    folder.build(cutoff_len=10)
    assert len(cached(folder)) == before + 1
    folder.add("one", rows(6))
    assert len(folder.build().train) == 6


def test_overwrite_cache_writes_anew_unless_told_to_reuse(folder: Folder) -> None:
    folder.add("one", rows(2))
    folder.build()
    files = cached(folder)
    folder.build(overwrite_cache=True)
    rewritten = cached(folder)
    assert rewritten.keys() == files.keys()
    assert all(rewritten[name] != files[name] for name in files)
    cfg = folder.config(overwrite_cache=True)
    build(cfg, folder.tokenizer, cache_dir=folder.path / "cache", reuse_cache=True)
    assert cached(folder) == rewritten


def test_several_workers_give_the_same_rows(folder: Folder) -> None:
    folder.add("one", rows(20))
    alone = folder.build(preprocessing_batch_size=3).train.to_list()
    assert folder.build(preprocessing_batch_size=3, preprocessing_num_workers=2).train.to_list() == alone


def test_default_system_is_used(folder: Folder) -> None:
    folder.add("one", rows(1))
    ids = folder.build(default_system="Be brief.").train[0]["input_ids"]
    assert "system\nBe brief.<|im_end|>" in folder.tokenizer.decode(ids)


def test_an_unknown_template_is_refused(folder: Folder) -> None:
    folder.add("one", rows(1))
    with pytest.raises(templates.TemplateUnknown, match="did you mean qwen"):
        folder.build(template="qwn")
    with pytest.raises(templates.TemplateUnknown, match="write one of alpaca, chatml"):
        folder.build(template=None)


def test_faults_of_train_and_eval_are_told_together(folder: Folder) -> None:
    folder.add("one", rows(1))
    with pytest.raises(DataInvalid) as refused:
        folder.build(dataset="on", eval_dataset="eva", eval_strategy="epoch")
    assert [line.split()[1] for line in str(refused.value).splitlines()] == ["'on'", "'eva'"]
