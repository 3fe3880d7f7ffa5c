"""Every case that LLaMA-Factory 0.9.5 recorded: the same ids, labels, eos and stop ids, or the same refusal."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from finetune_trainer import template as templates
from finetune_trainer.data.convert import convert
from finetune_trainer.data.entry import parse
from finetune_trainer.examples import BadRow, Encoded, Example
from finetune_trainer.template.encode import EncodeOptions, encode

FOLDER = Path(__file__).parents[3] / "conformance"
RECORDED = date(2026, 1, 1)
ARGUMENTS = {"cutoff_len", "train_on_prompt", "mask_history", "default_system"}
WITHOUT_EFFECT = {"enable_thinking"}  # on templates that do not reason


def load() -> list[dict[str, Any]]:
    with gzip.open(FOLDER / "vectors.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


CASES = load()
REFUSED = [
    case for case in CASES if case.get("format") == "openai" or {"packing", "neat_packing"} & case["args"].keys()
]
RUN = [case for case in CASES if case not in REFUSED]


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerBase:
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(FOLDER / "tokenizer")
    return loaded


def entry_of(case: dict[str, Any]) -> dict[str, Any]:
    raw = {"file_name": "rows.json", "formatting": case.get("format", "alpaca"), "columns": case["columns"]}
    return raw | ({"tags": case["tags"]} if case.get("tags") else {})


def encode_case(case: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> list[Encoded | BadRow]:
    args = dict(case["args"])
    assert args.keys() <= ARGUMENTS | WITHOUT_EFFECT
    template = templates.get(case["template"]).with_default_system(args.pop("default_system", None))
    templates.fix_tokenizer(tokenizer, template)
    options = EncodeOptions(
        cutoff_len=args.get("cutoff_len", 2048),
        train_on_prompt=args.get("train_on_prompt", False),
        mask_history=args.get("mask_history", False),
        today=RECORDED,
    )
    entry = parse("case", entry_of(case), stage="sft")
    converted = [convert(row, entry) for row in case["rows"]]
    return encode([one for one in converted if isinstance(one, Example)], template, tokenizer, options)


@pytest.mark.parametrize("case", RUN, ids=[case["name"] for case in RUN])
def test_like_llamafactory(case: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = encode_case(case, tokenizer)
    expected = case["expected"]
    if "error" in expected:
        assert any(isinstance(one, BadRow) for one in encoded)
        return
    ours = [{"input_ids": one.input_ids, "labels": one.labels} for one in encoded if isinstance(one, Encoded)]
    theirs = [{key: sample[key] for key in ("input_ids", "labels")} for sample in expected["samples"]]
    assert ours == theirs
    assert tokenizer.eos_token == expected["eos_token"]
    assert templates.stop_token_ids(tokenizer, templates.get(case["template"])) == expected["stop_ids"]


def test_every_case_is_accounted_for() -> None:
    assert len(CASES) == 170
    assert len(RUN) == 155
    assert Counter("openai" if case.get("format") == "openai" else "packing" for case in REFUSED) == {
        "openai": 5,
        "packing": 10,
    }


@pytest.mark.parametrize("case", [case for case in REFUSED if case.get("format") == "openai"], ids=lambda c: c["name"])
def test_openai_is_refused_by_name(case: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="formatting: 'openai' is not supported yet"):
        parse("case", entry_of(case), stage="sft")
