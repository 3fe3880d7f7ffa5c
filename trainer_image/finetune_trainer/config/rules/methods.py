"""What the keys about stages other than sft, their losses, reference and reward models must not say together."""

from __future__ import annotations

from finetune_trainer.config.rules.broken import Rule

RULES: tuple[Rule, ...] = ()
