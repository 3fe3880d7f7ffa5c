"""Entries of dataset_info.json that we refuse, all faults at once."""

from __future__ import annotations

from typing import Any

import pytest

from finetune_trainer.data.entry import DataInvalid, parse


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"ms_hub_url": "a/b"}, "ms_hub_url: a ModelScope data set is not supported yet"),
        ({"om_hub_url": "a/b"}, "om_hub_url: a Modelers data set is not supported yet"),
        ({"script_url": "s"}, "script_url: a loading script is not supported yet"),
        ({"cloud_file_name": "s3://b/f"}, "cloud_file_name: a file in a cloud store is not supported yet"),
        (
            {"file_name": "a", "formatting": "openai"},
            "formatting: 'openai' is not supported yet; write alpaca",
        ),
        ({"file_name": "a", "ranking": True}, "ranking: preference data cannot be used in stage sft"),
        ({"file_name": "a", "columns": {"prompt": "p", "response": "r", "images": "i"}}, "columns.images: media"),
        ({"file_name": "a", "columns": {"prompt": "p", "response": "r", "kto_tag": "k"}}, "columns.kto_tag: verdicts"),
        ({"file_name": "a", "columns": {"promt": "p"}}, "columns.promt: unknown key; did you mean columns.prompt"),
        ({"file_name": "a", "columns": {"prompt": "p"}}, "columns: response is missing; once columns is there"),
        ({"file_nam": "a"}, "file_nam: unknown key; did you mean file_name"),
        ({}, "no source; write file_name or hf_hub_url"),
        ({"file_name": "a", "num_samples": 0}, "num_samples: expected a number of rows, got 0"),
        ({"file_name": 3}, "file_name: expected a text, got 3"),
        ("a.json", "expected an object, got str"),
    ],
)
def test_what_we_refuse(raw: Any, message: str) -> None:
    with pytest.raises(DataInvalid) as refused:
        parse("demo", raw, stage="sft")
    assert f"dataset 'demo' in dataset_info.json: {message}" in str(refused.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(DataInvalid) as refused:
        parse("demo", {"file_name": "a", "ranking": True, "subst": "x", "num_samples": "3"}, stage="sft")
    assert len(str(refused.value).splitlines()) == 3


def test_a_hugging_face_id_wins_over_the_other_hubs() -> None:
    entry = parse("demo", {"hf_hub_url": "a/b", "ms_hub_url": "c/d"}, stage="sft")
    assert entry.hf_hub_url == "a/b"
    assert entry.split == "train"
