"""The model's embeddings and the tokenizer's tokens: they must fit each other."""

from __future__ import annotations

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from finetune_trainer.config import TrainConfig
from finetune_trainer.failures import RunError


def fit(cfg: TrainConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:  # noqa: ARG001
    """Check that the model has an embedding for each token.

    Raises:
        RunError: it has not.
    """
    rows = getattr(model.config.get_text_config(), "vocab_size", None)
    if rows is not None and len(tokenizer) > rows:
        raise RunError(
            f"the tokenizer has {len(tokenizer)} tokens, the model {rows} embeddings: the template adds tokens that "
            "this model does not know; take the template that belongs to the model"
        )
