"""Files of every kind give the same rows, each with its place; what is not there is told with its path."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune_trainer.data.entry import DataInvalid
from finetune_trainer.data.sources import find, read

ROWS = [{"instruction": "a", "output": "1\n2"}, {"instruction": "模型", "output": "3"}]


def write_info(folder: Path, **entries: dict[str, Any]) -> None:
    (folder / "dataset_info.json").write_text(json.dumps(entries))


def rows_of(folder: Path, name: str = "demo") -> list[tuple[int, int, Any]]:
    (source,) = find([name], str(folder), stage="sft")
    return list(read(source, folder / "cache"))


def write_jsonl(path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def write_csv(path: Path) -> None:
    path.write_text('instruction,output\na,"1\n2"\n模型,3\n')


def write_arrow_file(path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    with pa.ipc.new_file(path, table.schema) as file:
        file.write_table(table)


def write_arrow_stream(path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    with pa.ipc.new_stream(path, table.schema) as file:
        file.write_table(table)


@pytest.mark.parametrize(
    ("file_name", "write", "lines"),
    [
        ("rows.json", lambda path: path.write_text(json.dumps(ROWS, indent=1)), [0, 1]),
        ("bom.json", lambda path: path.write_text("\ufeff" + json.dumps(ROWS)), [0, 1]),
        ("lines.json", write_jsonl, [1, 2]),
        ("rows.jsonl", write_jsonl, [1, 2]),
        ("rows.csv", write_csv, [3, 4]),
        ("rows.parquet", lambda path: pq.write_table(pa.Table.from_pylist(ROWS), path), [0, 1]),
        ("file.arrow", write_arrow_file, [0, 1]),
        ("stream.arrow", write_arrow_stream, [0, 1]),
    ],
)
def test_every_kind_of_file(file_name: str, write: Callable[[Path], None], lines: list[int], tmp_path: Path) -> None:
    write(tmp_path / file_name)
    write_info(tmp_path, demo={"file_name": file_name})
    assert rows_of(tmp_path) == [(0, line, row) for line, row in zip(lines, ROWS, strict=True)]


def test_txt_is_one_row_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo")
    write_info(tmp_path, demo={"file_name": "a.txt"})
    assert rows_of(tmp_path) == [(0, 1, {"text": "one"}), (0, 2, {"text": "two"})]


def test_a_folder_is_its_files_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere" / "parts"
    folder.mkdir(parents=True)
    for name in ("b.jsonl", "a.jsonl", ".hidden"):
        (folder / name).write_text(json.dumps({"instruction": name, "output": ""}) + "\n")
    write_info(tmp_path, demo={"file_name": str(folder)})
    assert [(file, row["instruction"]) for file, _, row in rows_of(tmp_path)] == [(0, "a.jsonl"), (1, "b.jsonl")]


def test_a_hub_data_set_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "hub" / "train.parquet")
    write_info(tmp_path, demo={"hf_hub_url": str(tmp_path / "hub")})
    assert [(index, row) for _, index, row in rows_of(tmp_path)] == list(enumerate(ROWS))


def test_a_hub_that_cannot_be_reached_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    write_info(tmp_path, demo={"hf_hub_url": "some/where"})
    with pytest.raises(ConnectionError, match=r"dataset 'demo': hf_hub_url 'some/where': the hub cannot be reached"):
        rows_of(tmp_path)


def test_faults_of_all_data_sets_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "mixed").mkdir()
    for name in ("a.csv", "b.json", "c"):
        (tmp_path / "mixed" / name).touch()
    write_info(
        tmp_path,
        gone={"file_name": "gone.json"},
        mixed={"file_name": "mixed"},
        odd={"file_name": "mixed/c"},
        identity={"file_name": "x"},
    )
    with pytest.raises(DataInvalid) as refused:
        find(["gone", "identiti", "mixed", "odd"], str(tmp_path), stage="sft")
    gone, unknown, mixed, odd = str(refused.value).splitlines()
    assert gone.startswith(f"dataset 'gone': {tmp_path}/gone.json: no such file; write file_name as a path below")
    assert unknown.endswith("did you mean identity? known: gone, identity, mixed, odd")
    assert "files of several kinds (, .csv, .json)" in mixed
    assert "no ending is not supported; use .json, .jsonl, .csv" in odd


def test_no_dataset_info_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match=r"dataset_info\.json: no such file; set dataset_dir to the folder"):
        find(["demo"], str(tmp_path), stage="sft")
    (tmp_path / "dataset_info.json").write_text('{\n"a": }')
    with pytest.raises(DataInvalid, match=r"dataset_info\.json:2: not JSON"):
        find(["demo"], str(tmp_path), stage="sft")


@pytest.mark.parametrize("folder", ["ONLINE", "REMOTE:org/repo"])
def test_other_homes_of_dataset_info_are_refused(folder: str) -> None:
    with pytest.raises(DataInvalid, match=f"dataset_dir: {folder} is not supported yet"):
        find(["demo"], folder, stage="sft")


@pytest.mark.parametrize(
    ("file_name", "content", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n\n{"a": \n', "a.jsonl:3: not JSON"),
        ("a.json", b'[\n{"a": 1},\n{"a" 2}\n]', "a.json:3: not JSON"),
        ("a.json", b'[{"a": "\xff"}]', "a.json: not UTF-8"),
        ("a.parquet", b"PAR?", "a.parquet: not Parquet"),
        ("a.arrow", b"ARROW1 nothing", "a.arrow: not Arrow"),
    ],
)
def test_a_broken_file_is_told_with_its_line(file_name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / file_name).write_bytes(content)
    write_info(tmp_path, demo={"file_name": file_name})
    with pytest.raises(DataInvalid) as refused:
        rows_of(tmp_path)
    assert str(refused.value).startswith(f"dataset 'demo': {tmp_path}/{message}")
