"""Which data sets a name means: the user's own entries, then those that are known; ONLINE; which hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetune_trainer.data.entry import DataInvalid, parse
from finetune_trainer.data.sources import Access, Source, find
from finetune_trainer.data.sources.finding import known, preferred_hub


def found(names: list[str], folder: Path | str, stage: str = "sft") -> list[Source]:
    return find(names, str(folder), stage=stage, access=Access())


def test_llamafactorys_own_data_sets_are_known_without_a_file(tmp_path: Path) -> None:
    belle, ultrachat = found(["belle_2m", "ultrachat_200k"], tmp_path)
    assert belle.names == ("BelleGroup/train_2M_CN",)
    assert (ultrachat.entry.split, ultrachat.entry.tags.user_tag) == ("train_sft", "user")
    (pairs,) = found(["orca_pairs"], tmp_path, "rm")
    assert (pairs.entry.where, pairs.entry.columns.chosen) == ("Intel/orca_dpo_pairs", "chosen")


def test_every_known_entry_parses() -> None:
    """Two do not say their columns; LLaMA-Factory ends with a KeyError there."""
    unusable = set()
    for name, raw in known().items():
        columns = raw.get("columns", {})
        only_prompt = set(columns) == {"prompt"}
        stage = "rm" if raw.get("ranking") else "kto" if columns.get("kto_tag") else "pt" if only_prompt else "sft"
        try:
            parse(name, raw, stage=stage)
        except DataInvalid:
            unusable.add(name)
    assert len(known()) == 104
    assert unusable == {"nectar_rm", "orca_dpo_de"}


def test_the_users_entry_wins(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text(json.dumps({"belle_2m": {"hf_hub_url": "my/own"}}))
    assert [source.names for source in found(["belle_2m", "belle_1m"], tmp_path)] == [
        ("my/own",),
        ("BelleGroup/train_1M_CN",),
    ]


def test_a_known_file_must_lie_in_dataset_dir(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match=r"dataset 'identity': .*/identity.json: no such file; write file_name"):
        found(["identity"], tmp_path)
    (tmp_path / "identity.json").write_text("[{}]")
    (source,) = found(["identity"], tmp_path)
    assert source.names == (str(tmp_path / "identity.json"),)


@pytest.mark.shows("dataset_dir")
def test_an_unknown_name_is_told_with_the_nearest_of_both_places(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text(json.dumps({"my_alpaca_en": {"file_name": "x"}}))
    with pytest.raises(DataInvalid) as refused:
        found(["alpaca_enn", "zzzzzz"], tmp_path)
    near, far = str(refused.value).splitlines()
    place = f"{tmp_path}/dataset_info.json"
    assert near.startswith(f"dataset 'alpaca_enn' is not in {place}; did you mean alpaca_en,")
    assert "my_alpaca_en" in near.partition("it holds")[0]
    assert far == f"dataset 'zzzzzz' is not in {place}; it holds: my_alpaca_en"


def test_no_dataset_info_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match=r"dataset demo: .*dataset_info\.json: no such file; set dataset_dir to the"):
        found(["demo", "belle_2m"], tmp_path)
    (tmp_path / "dataset_info.json").write_text('{\n"a": }')
    with pytest.raises(DataInvalid, match=r"dataset_info\.json:2: not JSON"):
        found(["demo"], tmp_path)
    (tmp_path / "dataset_info.json").write_bytes(b'{"\xe9": 1}')
    with pytest.raises(DataInvalid, match=r"dataset_info\.json: not UTF-8 at byte 2; save it as UTF-8"):
        found(["demo"], tmp_path)
    (tmp_path / "dataset_info.json").write_text("[]")
    with pytest.raises(DataInvalid, match="expected an object of data sets by name, got list"):
        found(["demo"], tmp_path)


def test_faults_of_all_data_sets_are_told_at_once(tmp_path: Path) -> None:
    entries = {"gone": {"file_name": "gone.json"}, "odd": {"file_nam": "x"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(entries))
    with pytest.raises(DataInvalid) as refused:
        found(["gone", "odd", "od"], tmp_path)
    assert len(str(refused.value).splitlines()) == 3


def test_names_are_hub_ids_online(monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = found(["org/name"], "ONLINE")
    assert (source.entry.home, source.names, source.entry.formatting) == ("hf", ("org/name",), "alpaca")
    with pytest.raises(DataInvalid, match="ranking: stages dpo and rm learn from preference rows"):
        found(["org/name"], "ONLINE", "rm")


@pytest.mark.parametrize(
    ("environ", "hub"),
    [
        ({}, "hf"),
        ({"USE_MODELSCOPE_HUB": "0"}, "hf"),
        ({"USE_MODELSCOPE_HUB": "1", "USE_OPENMIND_HUB": "1"}, "ms"),
        ({"USE_MODELSCOPE_HUB": "True"}, "ms"),
        ({"USE_OPENMIND_HUB": "y"}, "om"),
    ],
)
def test_the_environment_says_which_hub(environ: dict[str, str], hub: str) -> None:
    assert preferred_hub(environ) == hub
