"""What the keys about attention, kernels and other means to spare time or memory must not say together."""

from __future__ import annotations

from finetune_trainer.config.rules.broken import Rule

RULES: tuple[Rule, ...] = ()
