"""Which model is taken, of which version, from where, and by what way."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from tests.tiny_model import make_tiny_model

from finetune_trainer import config, model
from finetune_trainer.failures import ModelNotFound, RunError
from finetune_trainer.model.base import load_base


def cfg(source: object, **keys: Any) -> config.TrainConfig:
    said = {"model_name_or_path": str(source), "dataset": "d", "template": "llama3", "output_dir": "o"}
    return config.parse({**said, "finetuning_type": "full", **keys})


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub's cache as huggingface_hub keeps it, with two versions of one model: tied embeddings, and not."""
    cache = tmp_path_factory.mktemp("hub")
    repository = cache / "models--team--tiny"
    (repository / "refs").mkdir(parents=True)
    for number, (branch, tied) in enumerate((("main", True), ("untied", False))):
        commit = str(number) * 40
        (repository / "refs" / branch).write_text(commit)
        shutil.move(make_tiny_model(cache / branch, tied=tied), repository / "snapshots" / commit)
    return cache


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.mark.shows("model_revision", "model_name_or_path")
def test_the_version_that_is_named(hub: Path) -> None:
    for revision, tied in ((None, True), ("untied", False)):
        found = load_base(cfg("team/tiny", cache_dir=str(hub), model_revision=revision), device=torch.device("cpu"))
        assert found.config.tie_word_embeddings is tied


@pytest.mark.shows("cache_dir")
def test_the_folder_that_is_named(hub: Path, tmp_path: Path) -> None:
    assert len(model.load_tokenizer(cfg("team/tiny", cache_dir=str(hub)))) == 4000
    with pytest.raises(ModelNotFound, match="model_name_or_path: team/tiny cannot be loaded"):
        model.load_tokenizer(cfg("team/tiny", cache_dir=str(tmp_path)))


@pytest.mark.shows("low_cpu_mem_usage")
def test_weights_go_straight_to_their_device_or_by_way_of_the_cpu(hub: Path) -> None:
    """The meta device stands in for a GPU."""
    folder = hub / "models--team--tiny" / "snapshots" / ("0" * 40)
    for wish, device in ((True, "meta"), (False, "cpu")):
        loaded = load_base(cfg(folder, low_cpu_mem_usage=wish), device=torch.device("meta"))
        assert {weight.device.type for weight in loaded.parameters()} == {device}


@pytest.mark.shows("use_fast_tokenizer")
def test_a_slow_tokenizer_that_there_is_not_is_told(hub: Path) -> None:
    folder = hub / "models--team--tiny" / "snapshots" / ("0" * 40)
    assert model.load_tokenizer(cfg(folder)).is_fast
    with pytest.raises(RunError, match="use_fast_tokenizer: false: this model has no tokenizer written in Python"):
        model.load_tokenizer(cfg(folder, use_fast_tokenizer=False))


def test_an_architecture_that_transformers_has_not(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "nonesuch"}')
    said = r"nonesuch` but Transformers does not recognize this architecture\. Take the image with the other one"
    with pytest.raises(RunError, match=f"model_name_or_path: .* needs another transformers than the .*{said}"):
        load_base(cfg(tmp_path), device=torch.device("cpu"))
