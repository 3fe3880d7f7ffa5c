"""LLaMA-Factory's demo data, each set by its own entry: the same messages as LLaMA-Factory makes, and tokens of each.

The files come from PyPI once and are kept (dev/peer.py); demo_converted.json is what LLaMA-Factory's converter made of
them (dev/peer_converts.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dev import peer
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from finetune_trainer import template as templates
from finetune_trainer.config import parse
from finetune_trainer.data import DataInvalid, Prepared, build, sources
from finetune_trainer.data.convert import converter
from finetune_trainer.data.entry import parse as parse_entry
from finetune_trainer.differences import AS_LLAMAFACTORY, MENDED
from finetune_trainer.examples import BadRow, Example, Reason

TOKENIZER = Path(__file__).parents[3] / "conformance" / "tokenizer"
CONVERTED = json.loads((Path(__file__).parent / "demo_converted.json").read_text())
STAGES = {
    "identity": "sft",
    "alpaca_en_demo": "sft",
    "alpaca_zh_demo": "sft",
    "glaive_toolcall_en_demo": "sft",
    "glaive_toolcall_zh_demo": "sft",
    "dpo_en_demo": "rm",
    "dpo_zh_demo": "rm",
    "kto_en_demo": "kto",
    "wiki_demo": "pt",
    "c4_demo": "pt",
}
MEDIA = ("mllm_demo", "mllm_audio_demo", "mllm_video_demo", "mllm_video_audio_demo")
COLUMNS = {
    "sft": ["input_ids", "labels"],
    "rm": ["chosen_input_ids", "chosen_labels", "rejected_input_ids", "rejected_labels"],
    "kto": ["input_ids", "labels", "kl_input_ids", "kl_labels", "kto_tags"],
    "pt": ["input_ids"],
}


@pytest.fixture(scope="module")
def folder() -> Path:
    return peer.demo_data()


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(TOKENIZER)
    templates.fix_tokenizer(loaded, templates.get("qwen"))
    return loaded


def raw_rows(name: str, folder: Path, cache: Path) -> tuple[sources.Source, Iterator[Any]]:
    access = sources.Access(cache_dir=cache)
    (source,) = sources.find([name], str(folder), stage=STAGES[name], access=access)
    rows = (row for chunk in sources.chunks(source, None) for _, row in sources.rows(source, chunk))
    return source, rows


def llamafactorys(example: Example) -> list[Any]:
    """[_prompt, _response, _system, _tools] of LLaMA-Factory's converter; a verdict is an empty answer beside it."""
    empty = [["assistant", ""]]
    answers = [list(message) for message in example.answers]
    if example.liked is not None:
        answers = answers + empty if example.liked else empty + answers
    return [[list(message) for message in example.prompt], answers, example.system, example.tools]


def test_no_text_set_is_forgotten(folder: Path) -> None:
    entries = json.loads((folder / "dataset_info.json").read_text())
    local = {name for name, entry in entries.items() if (folder / entry.get("file_name", "no file")).is_file()}
    assert local == {*STAGES, *MEDIA}
    assert CONVERTED.keys() == STAGES.keys()


@pytest.mark.parametrize("name", STAGES)
def test_every_row_becomes_what_llamafactory_makes_of_it(name: str, folder: Path, tmp_path: Path) -> None:
    source, rows = raw_rows(name, folder, tmp_path)
    convert, digest, count = converter(source.entry, AS_LLAMAFACTORY), hashlib.sha256(), 0
    for row in rows:
        example = convert(row)
        assert isinstance(example, Example), example
        digest.update(json.dumps(llamafactorys(example)).encode() + b"\n")
        count += 1
    assert {"rows": count, "sha256": digest.hexdigest()} == CONVERTED[name]


def prepare(names: str, stage: str, folder: Path, tokenizer: PreTrainedTokenizerBase, cache: Path) -> Prepared:
    keys = {"model_name_or_path": "none", "output_dir": str(cache / "out"), "template": "qwen", "stage": "sft"}
    said = parse({**keys, "dataset": names, "dataset_dir": str(folder), "cutoff_len": 512})
    # The data of every stage can be prepared, also of those that cannot be trained yet.
    cfg = said.model_copy(update={"finetuning": said.finetuning.model_copy(update={"stage": stage})})
    return build(cfg, tokenizer, cache_dir=cache / "cache")


@pytest.mark.parametrize("name", STAGES)
def test_every_set_is_prepared_in_its_own_stage(
    name: str, folder: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    prepared = prepare(name, STAGES[name], folder, tokenizer, tmp_path)
    counts = prepared.report.train.datasets[name]
    assert (counts.rows_read, counts.rows_kept, counts.rows_dropped) == (CONVERTED[name]["rows"],) * 2 + (0,)
    assert sorted(prepared.train.column_names) == sorted(COLUMNS[STAGES[name]])
    assert counts.learned_tokens > 0
    if STAGES[name] != "pt":  # documents are cut into blocks
        assert len(prepared.train) == counts.rows_kept


@pytest.mark.parametrize("name", MEDIA)
@pytest.mark.shows("media_dir")
def test_sets_with_media_are_refused_by_name(
    name: str, folder: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    with pytest.raises(DataInvalid, match=rf"(?s){name}.*(images|audios|videos).*not supported yet"):
        prepare(name, "sft", folder, tokenizer, tmp_path)


def test_rows_of_llamafactorys_next_format_say_what_is_wrong(folder: Path) -> None:
    """reason_tool_use_demo_50 has no entry in dataset_info.json: contents that are lists, for llamafactory's v1."""
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    raw = {"file_name": "reason_tool_use_demo_50.jsonl", "formatting": "openai", "columns": {"messages": "messages"}}
    entry = parse_entry("reason", raw | {"tags": tags | {"system_tag": "system"}}, stage="sft")
    lines = (folder / "reason_tool_use_demo_50.jsonl").read_text().splitlines()
    bad = [converter(entry, MENDED)(json.loads(line)) for line in lines]
    assert len(bad) == 50
    for row in bad:
        assert isinstance(row, BadRow)
        assert row.reason is Reason.WRONG_TYPE
        assert row.detail.startswith(
            "message 1 of 'system': 'content': expected a text, got the list [{'type': 'text'"
        )
