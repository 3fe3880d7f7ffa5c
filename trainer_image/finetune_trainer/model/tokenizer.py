"""The tokenizer, with what the template asks of it."""

from __future__ import annotations

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from finetune_trainer import template
from finetune_trainer.config import TrainConfig
from finetune_trainer.model.sources import hub_arguments, named


def load_tokenizer(cfg: TrainConfig) -> PreTrainedTokenizerBase:
    """Load the model's tokenizer, padding on the right, its special tokens as the template needs them.

    Raises:
        ModelNotFound: there is none.
    """
    with named(cfg.model.model_name_or_path, "model_name_or_path") as source:
        tokenizer = AutoTokenizer.from_pretrained(
            source, use_fast=cfg.model.use_fast_tokenizer, padding_side="right", **hub_arguments(cfg.model)
        )
    if cfg.data.template is not None:
        template.fix_tokenizer(tokenizer, template.get(cfg.data.template))
    return tokenizer
