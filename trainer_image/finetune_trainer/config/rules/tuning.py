"""What the keys about which weights move: adapters, frozen layers, new tokens must not say together."""

from __future__ import annotations

from finetune_trainer.config.rules.broken import Rule

RULES: tuple[Rule, ...] = ()
