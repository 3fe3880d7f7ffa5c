"""What the keys about evaluating, predicting, generating must not say together."""

from __future__ import annotations

from finetune_trainer.config.rules.broken import Rule

RULES: tuple[Rule, ...] = ()
