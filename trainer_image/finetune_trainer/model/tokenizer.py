"""The tokenizer, with what the template asks of it."""

from __future__ import annotations

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from finetune_trainer import template
from finetune_trainer.config import TrainConfig
from finetune_trainer.failures import RunError
from finetune_trainer.model import new_tokens
from finetune_trainer.model.sources import hub_arguments, named
from finetune_trainer.template.chosen import chosen


def load_tokenizer(cfg: TrainConfig) -> PreTrainedTokenizerBase:
    """Load the model's tokenizer, padding on the right, with new tokens, its special ones as the template needs them.

    Its chat template is still the model's own.

    Raises:
        ModelNotFound: there is none.
        RunError: the file of new special tokens cannot be read, or use_fast_tokenizer is false and there is no other.
        TemplateUnknown, TemplateInvalid: there is no such template, or none can be made of the chat template.
    """
    with named(cfg.model.model_name_or_path, "model_name_or_path") as source:
        tokenizer = AutoTokenizer.from_pretrained(
            source,
            use_fast=cfg.model.use_fast_tokenizer,
            split_special_tokens=cfg.model.split_special_tokens,
            padding_side="right",
            **hub_arguments(cfg.model),
        )
    if tokenizer.is_fast and not cfg.model.use_fast_tokenizer:
        raise RunError(
            "use_fast_tokenizer: false: this model has no tokenizer written in Python for the installed transformers "
            "(5 has none where there is one in Rust); leave it out"
        )
    new_tokens.add(cfg.model, tokenizer)
    fits, _ = chosen(cfg.data, tokenizer)
    changes = template.fix_tokenizer(tokenizer, fits)
    if changes.chat_template is not None:
        # Which one is saved is decided when it is known what is trained (saved_template).
        tokenizer.chat_template = changes.own_chat_template
    return tokenizer
