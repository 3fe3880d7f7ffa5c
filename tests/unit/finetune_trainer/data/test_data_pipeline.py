"""Shards and their cache: chunks and processes that change nothing, crashes, neighbours, and what a key follows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.unit.finetune_trainer.data.data_folder import Folder, load_tokenizer, rows

from finetune_trainer.data import DataInvalid, build
from finetune_trainer.data.recipe import Recipe, tokenizer_key

ROWS = [{"instruction": "no answer"} if i % 9 == 4 else rows(1, start=i)[0] for i in range(120)]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize("keys", [{}, {"packing": True, "cutoff_len": 64, "preprocessing_batch_size": 10}])
def test_chunks_and_workers_change_nothing(keys: dict[str, Any], folder: Folder) -> None:
    folder.add("one", ROWS)
    folder.add("two", rows(30, start=500))
    keys = {**keys, "overwrite_cache": True, "val_size": 0.1, "eval_strategy": "epoch"}
    # Windows of packed rows follow the number of processes, so that stays; chunks are told to one worker at a time.
    whole, report = folder.prepare(chunk=1 << 20, **keys, preprocessing_num_workers=2)
    tiny, tiny_report = folder.prepare(chunk=300, **keys, preprocessing_num_workers=2)
    assert {name: part.to_list() for name, part in tiny.items()} == {n: part.to_list() for n, part in whole.items()}
    assert tiny_report == report
    assert list(whole) == ["train", "eval"]


@pytest.mark.shows("preprocessing_num_workers")
def test_one_process_gives_what_several_give(folder: Folder) -> None:
    folder.add("one", ROWS)
    alone, _ = folder.prepare(chunk=300, overwrite_cache=True)
    several, _ = folder.prepare(chunk=300, overwrite_cache=True, preprocessing_num_workers=3)
    assert several["train"].to_list() == alone["train"].to_list()
    assert len(alone["train"]) == 107


def test_a_second_call_reads_the_cache_and_gives_the_same(folder: Folder) -> None:
    folder.add("one", ROWS)
    for keys in ({}, {"packing": True, "cutoff_len": 64}):
        first = folder.build(**keys)
        files = folder.made()
        second = folder.build(**keys)
        assert folder.made() == files
        assert second.train.to_list() == first.train.to_list()
        assert second.report == first.report


def test_other_worker_numbers_share_a_cache(folder: Folder) -> None:
    folder.add("one", ROWS)
    folder.build()
    files = folder.made()
    folder.build(preprocessing_num_workers=2)
    assert folder.made() == files


@pytest.mark.shows("overwrite_cache")
def test_overwrite_cache_writes_anew_unless_told_to_reuse(folder: Folder) -> None:
    folder.add("one", rows(2))
    folder.build(packing=True)
    files = folder.made()
    folder.build(packing=True, overwrite_cache=True)
    rewritten = folder.made()
    assert rewritten.keys() == files.keys()
    assert all(rewritten[name] != files[name] for name in files)
    cfg = folder.config(packing=True, overwrite_cache=True)
    build(cfg, folder.tokenizer, cache_dir=folder.cache, reuse_cache=True)
    assert folder.made() == rewritten


@pytest.mark.parametrize(
    "keys",
    [
        {"template": "chatml"},
        {"cutoff_len": 10},
        {"train_on_prompt": True},
        {"mask_history": True},
        {"enable_thinking": False, "template": "qwen3"},
        {"preserve_thinking": True},
        {"default_system": "Be brief."},
        {"tool_format": "llama3"},
        {"llamafactory_faults": "all"},
        {"max_samples": 3},
        {"stage": "ppo"},
        {"packing": True},
    ],
    ids=str,
)
def test_the_key_follows_all_that_counts(keys: dict[str, Any], folder: Folder) -> None:
    folder.add("one", rows(5))
    same = {name: keys[name] for name in ("template",) if len(keys) > 1}
    folder.build(**same)
    before = set(folder.cache.glob("tokens-*"))
    folder.build(**same, on_bad_row="fail", preprocessing_batch_size=7, preprocessing_num_workers=2)
    assert set(folder.cache.glob("tokens-*")) == before
    folder.build(**keys)
    assert len(set(folder.cache.glob("tokens-*")) - before) == 1


def test_the_key_follows_rows_and_entry(folder: Folder) -> None:
    folder.add("one", rows(5))
    assert len(folder.build().train) == 5
    folder.add("one", rows(6))
    assert len(folder.build().train) == 6
    swapped = {"prompt": "output", "response": "instruction"}
    folder.add("one", rows(6), columns=swapped)
    assert folder.answers(folder.build())[0] == "number 0"


def test_the_key_follows_the_tokenizer_but_not_what_calls_leave_behind() -> None:
    one, other = load_tokenizer(), load_tokenizer()
    one(["some text", "more"], padding=True, truncation=True, max_length=3)
    assert tokenizer_key(one) == tokenizer_key(other)
    other.add_tokens(["<new>"])
    assert tokenizer_key(one) != tokenizer_key(other)


def test_the_key_follows_the_date_only_where_tools_print_it(folder: Folder) -> None:
    from finetune_trainer.data.sources import Access, find

    columns = {"prompt": "instruction", "response": "output"}
    folder.add("plain", rows(1), columns=columns)
    folder.add("tools", rows(1), columns={**columns, "tools": "input"})
    sources = find(["plain", "tools"], str(folder.path), stage="sft", access=Access())
    for template, same in (("llama3", [True, False]), ("qwen", [True, True])):
        cfg = folder.config(template=template)
        recipes = [Recipe.of(cfg, folder.tokenizer, date(2026, 1, day)) for day in (2, 3)]
        keys = [[recipe.identity(source) for recipe in recipes] for source in sources]
        assert [first == second for first, second in keys] == same


def test_wrong_json_is_told_with_its_line_from_a_worker_too(folder: Folder) -> None:
    folder.add("one", rows(50))
    path = folder.path / "one.jsonl"
    lines = path.read_text().splitlines()
    for line in (20, 40):
        lines[line - 1] = "{"
    path.write_text("\n".join(lines))
    for workers in (1, 3):
        with pytest.raises(DataInvalid, match=r"dataset 'one': .*one\.jsonl:20: not JSON"):
            folder.prepare(chunk=200, preprocessing_num_workers=workers)


PROGRAM = """
import json, sys
from pathlib import Path
from tests.unit.finetune_trainer.data.data_folder import Folder
folder = Folder(Path(sys.argv[1]))
folder.info = {"one": {}}
parts, report = folder.prepare(chunk=400, **json.loads(sys.argv[2]))
print(json.dumps([parts["train"].to_list(), report.to_dict()]))
"""


def start(folder: Folder, keys: dict[str, Any]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(folder.path), json.dumps(keys)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_is_continued_where_it_stopped(workers: int, folder: Folder) -> None:
    folder.add("one", [ROWS[i % len(ROWS)] for i in range(3000)])
    keys = {"preprocessing_num_workers": workers}
    process = start(folder, keys)
    while len(list(folder.cache.glob("tokens-*/part-*.arrow"))) < 20:
        assert process.poll() is None, "it was too fast to be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list(folder.cache.glob("tokens-*/done.json"))
    time.sleep(0.5)  # workers finish what they have in hand
    kept = folder.made()
    parts, report = folder.prepare(chunk=400, **keys)
    after = folder.made()
    assert {name: after[name] for name in kept if name in after} == {n: kept[n] for n in kept if "/part-" in n}
    assert len(after) > len(kept)
    fresh, fresh_report = folder.prepare(chunk=400, overwrite_cache=True)
    assert parts["train"].to_list() == fresh["train"].to_list()
    assert report == fresh_report


def test_two_processes_at_once_make_the_same(folder: Folder) -> None:
    folder.add("one", [ROWS[i % len(ROWS)] for i in range(1500)])
    keys = {"packing": True, "cutoff_len": 64, "preprocessing_batch_size": 100}
    both = [start(folder, keys), start(folder, keys)]
    told = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert told[0] == told[1]
    parts, _ = folder.prepare(chunk=400, overwrite_cache=True, **keys)
    assert json.loads(told[0])[0] == parts["train"].to_list()
    assert not list(folder.cache.glob("*/.*"))
