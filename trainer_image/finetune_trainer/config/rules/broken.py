"""What a rule between keys is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from finetune_trainer.config.train_config import TrainConfig

Broken = Iterator[tuple[tuple[str, ...], str]]
"""(keys that the rule looks at, the one to report first; message that says what to write instead)."""
Rule = Callable[[TrainConfig], Broken]
