"""Models that are known by name: what their config.json says, without a byte fetched (known_models.yaml)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml

from finetune_trainer.sizing import config_json
from finetune_trainer.sizing.architecture import Architecture


def find(repository: str) -> Architecture | None:
    """The architecture of a hub's repository, e.g. `Qwen/Qwen3-8B`; None: it is not known here."""
    config = _configs().get(repository.lower())
    return None if config is None else config_json.read(config)


def models() -> list[dict[str, Any]]:
    """The whole table: `ids`, `weights` (how many numbers) and `config` of each model."""
    text = resources.files(__package__).joinpath("known_models.yaml").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = yaml.safe_load(text)
    return found


@cache
def _configs() -> Mapping[str, Mapping[str, Any]]:
    """Hubs take names in any case."""
    return {name.lower(): model["config"] for model in models() for name in model["ids"]}
