"""Templates: a conversation's text around the messages, and its token ids and labels.

Law: registry is data, encode is pure given a tokenizer; nothing here knows a file of rows, a dataset or a model.
"""

from __future__ import annotations

from finetune_trainer.template.registry import Template, TemplateInvalid, TemplateUnknown, get, names
from finetune_trainer.template.tokenizer import TokenizerChanges, chat_template, fix_tokenizer, stop_token_ids

__all__ = [
    "Template",
    "TemplateInvalid",
    "TemplateUnknown",
    "TokenizerChanges",
    "chat_template",
    "fix_tokenizer",
    "get",
    "names",
    "stop_token_ids",
]
