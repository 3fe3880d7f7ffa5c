"""tokenized_path: prepared data that is kept, and read again; LLaMA-Factory's folders and ours are alike.

tokenized_llamafactory/ was written by LLaMA-Factory 0.9.5 with the tokenizer of tests/conformance: `split` (six alpaca
rows `number i` / `it is i`, val_size 2, cutoff_len 64, template qwen), `packed` (the same with packing, neat_packing
and eval_on_each_dataset), `kto` (four of them with verdicts true, false, true, false).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict, load_from_disk
from tests.unit.finetune_trainer.data.data_folder import Folder, rows

from finetune_trainer.data import DataInvalid

THEIRS = Path(__file__).parent / "tokenized_llamafactory"
KTO = [{"instruction": f"number {i}", "output": f"it is {i}", "label": i % 2 == 0} for i in range(4)]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def lists(part: Any) -> list[dict[str, list[int]]]:
    assert isinstance(part, Dataset)
    return part.to_list()


@pytest.mark.parametrize("keys", [{}, {"packing": True, "cutoff_len": 64}], ids=str)
@pytest.mark.shows("tokenized_path")
def test_what_is_kept_is_what_is_read_again(keys: dict[str, Any], folder: Folder) -> None:
    folder.add("one", [*rows(12), {"instruction": "no answer"}])
    keys = {**keys, "tokenized_path": str(folder.path / "kept"), "val_size": 3, "eval_strategy": "epoch"}
    made = folder.build(**keys)
    (folder.path / "one.jsonl").unlink()
    again = folder.build(**keys)
    assert lists(again.train) == lists(made.train)
    assert lists(again.eval) == lists(made.eval)
    assert again.report.notes == (
        f"tokenized_path: the rows are those of {folder.path / 'kept'}; all other keys about data had no effect",
    )
    counted, before = again.report.parts["train"], made.report.parts["train"]
    assert counted.rows_kept == len(made.train)
    assert counted.learned_tokens == before.learned_tokens
    assert [path.name for path in folder.path.iterdir() if path.name.startswith(".")] == []


def test_parts_for_each_data_set_are_kept_under_llamafactorys_names(folder: Folder) -> None:
    folder.add("one", rows(2))
    folder.add("low", rows(3))
    folder.add("high", rows(4))
    keys = {"dataset": "one", "eval_dataset": "low,high", "eval_on_each_dataset": True, "eval_strategy": "epoch"}
    folder.build(**keys, tokenized_path=str(folder.path / "kept"))
    assert list(load_from_disk(str(folder.path / "kept"))) == ["train", "validation_low", "validation_high"]
    again = folder.build(**keys, tokenized_path=str(folder.path / "kept"))
    assert isinstance(again.eval, dict)
    assert {name: len(part) for name, part in again.eval.items()} == {"low": 3, "high": 4}


def test_a_folder_of_llamafactory_holds_the_rows_that_we_make(folder: Folder) -> None:
    folder.add("six", rows(6))
    keys = {"val_size": 2, "eval_strategy": "epoch", "cutoff_len": 64}
    ours, theirs = folder.build(**keys), folder.build(**keys, tokenized_path=str(THEIRS / "split"))
    assert (lists(theirs.train), lists(theirs.eval)) == (lists(ours.train), lists(ours.eval))
    assert theirs.report.parts["train"].tokens == ours.report.parts["train"].tokens


def test_packed_rows_of_llamafactory_keep_their_mask_and_positions(folder: Folder) -> None:
    folder.add("six", rows(6))
    folder.add("held", rows(6))
    keys = {"dataset": "six", "eval_dataset": "held,six", "eval_on_each_dataset": True, "eval_strategy": "epoch"}
    packing = {"packing": True, "neat_packing": True, "cutoff_len": 64}
    ours = folder.build(**keys, **packing)
    theirs = folder.build(**keys, tokenized_path=str(THEIRS / "packed"))
    assert lists(theirs.train) == lists(ours.train)
    assert theirs.train.column_names == ["input_ids", "labels", "attention_mask", "position_ids"]
    assert isinstance(theirs.eval, dict)
    assert isinstance(ours.eval, dict)
    assert {name: lists(part) for name, part in theirs.eval.items()} == {
        n: lists(part) for n, part in ours.eval.items()
    }


def test_verdicts_of_llamafactory_are_read_as_ours(folder: Folder) -> None:
    folder.add("kto", KTO, columns={"prompt": "instruction", "response": "output", "kto_tag": "label"})
    theirs = folder.build(stage="kto", tokenized_path=str(THEIRS / "kto"), cutoff_len=64)
    ours = folder.build(stage="kto", cutoff_len=64)
    assert [row["kto_tags"] for row in theirs.train] == [[1], [0], [1], [0]]
    assert lists(theirs.train) == [{name: row[name] for name in theirs.train.column_names} for row in ours.train]


def test_one_data_set_without_parts_is_train(folder: Folder) -> None:
    Dataset.from_dict({"input_ids": [[1, 2]], "labels": [[-100, 2]]}).save_to_disk(str(folder.path / "kept"))
    folder.add("one", rows(1))
    prepared = folder.build(tokenized_path=str(folder.path / "kept"))
    assert lists(prepared.train) == [{"input_ids": [1, 2], "labels": [-100, 2]}]
    assert prepared.eval is None


def save(path: Path, **columns: list[Any]) -> None:
    DatasetDict({"train": Dataset.from_dict(columns)}).save_to_disk(str(path))


@pytest.mark.parametrize(
    ("columns", "stage", "told"),
    [
        ({"input_ids": [[1]]}, "sft", "has no column labels, only input_ids; it was made for another stage than sft"),
        ({"input_ids": [[1]], "labels": [[1]]}, "rm", "has no column chosen_input_ids, chosen_labels, rejected_input"),
        ({"input_ids": [[1], [99999]], "labels": [[1], [1]]}, "sft", "input_ids holds the id 99999, but the"),
        ({"input_ids": [[-1]], "labels": [[1]]}, "sft", "input_ids holds the id -1, but the tokenizer's end"),
        ({"input_ids": [[1]], "labels": [[99999]]}, "sft", "labels holds the id 99999"),
        ({"input_ids": [[1]], "labels": [[-7]]}, "sft", "labels holds the id -7"),
        ({"input_ids": ["a"], "labels": [[1]]}, "sft", "column input_ids does not hold lists of whole numbers"),
    ],
)  # fmt: skip
def test_a_folder_that_does_not_fit_is_refused(
    columns: dict[str, list[Any]], stage: str, told: str, folder: Folder
) -> None:
    save(folder.path / "kept", **columns)
    folder.add("one", rows(1))
    with pytest.raises(DataInvalid) as refused:
        folder.build(stage=stage, tokenized_path=str(folder.path / "kept"))
    assert str(refused.value).startswith(f"tokenized_path: {folder.path / 'kept'}: train: ")
    assert told in str(refused.value)


def test_a_folder_of_something_else_is_refused_before_any_row_is_read(folder: Folder) -> None:
    folder.add("one", rows(1))
    with pytest.raises(DataInvalid, match="holds no prepared data, but is not empty; name another folder"):
        folder.build(tokenized_path=str(folder.path))
    assert not folder.cache.exists()


def test_a_broken_folder_is_refused(folder: Folder) -> None:
    folder.add("one", rows(1))
    shutil.copytree(THEIRS / "split", folder.path / "kept")
    for file in (folder.path / "kept" / "train").glob("*.arrow"):
        file.write_bytes(b"")
    with pytest.raises(DataInvalid, match=r"tokenized_path: .*kept cannot be read: "):
        folder.build(tokenized_path=str(folder.path / "kept"))


def test_nothing_to_evaluate_on_is_told(folder: Folder) -> None:
    folder.add("one", rows(2))
    folder.build(tokenized_path=str(folder.path / "kept"))
    with pytest.raises(DataInvalid, match="kept has no part to evaluate on; write eval_strategy: no, or remove"):
        folder.build(tokenized_path=str(folder.path / "kept"), eval_strategy="epoch")


def test_a_folder_that_cannot_be_written_is_told(folder: Folder) -> None:
    folder.add("one", rows(1))
    (folder.path / "file").write_text("")
    with pytest.raises(DataInvalid, match=r"tokenized_path: .*file/kept cannot be written: "):
        folder.build(tokenized_path=str(folder.path / "file" / "kept"))


def test_an_empty_folder_is_filled(folder: Folder) -> None:
    folder.add("one", rows(2))
    (folder.path / "kept").mkdir()
    made = folder.build(tokenized_path=str(folder.path / "kept"))
    assert lists(folder.build(tokenized_path=str(folder.path / "kept")).train) == lists(made.train)


PROGRAM = """
import json, sys
from pathlib import Path
from tests.unit.finetune_trainer.data.data_folder import Folder
folder = Folder(Path(sys.argv[1]))
folder.info = {"one": {}}
print(json.dumps(folder.build(tokenized_path=sys.argv[1] + "/kept").train.to_list()))
"""


def test_two_processes_may_fill_it_at_once(folder: Folder) -> None:
    folder.add("one", rows(300))
    command = [sys.executable, "-c", PROGRAM, str(folder.path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) for _ in range(2)]
    told = [process.communicate()[0] for process in both]
    assert told[0] == told[1]
    assert json.loads(told[0]) == load_from_disk(str(folder.path / "kept"))["train"].to_list()
    assert [path.name for path in folder.path.iterdir() if path.name.startswith(".kept")] == []
