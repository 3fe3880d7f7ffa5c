"""Pure: what a tracker may know of the configuration."""

from __future__ import annotations

import re
from typing import Any

from finetune_trainer import config
from finetune_trainer.config import TrainConfig

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def said(cfg: TrainConfig) -> dict[str, Any]:
    """The keys that the user said, with credentials in addresses blanked. No key that is accepted holds a secret."""
    return {name: _blank(value) for name, value in config.dump(cfg).items()}


def _blank(value: Any) -> Any:  # noqa: ANN401 - whatever a key holds
    if isinstance(value, str):
        return _CREDENTIALS.sub("***", value)
    if isinstance(value, dict):
        return {name: _blank(part) for name, part in value.items()}
    return [_blank(part) for part in value] if isinstance(value, list) else value
