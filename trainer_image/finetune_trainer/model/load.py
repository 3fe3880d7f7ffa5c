"""The model, from its folder or hub to the point where a Trainer can take it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from finetune_trainer.config import TrainConfig
from finetune_trainer.model import activations, generation, kernels, precision, quantisation, tuning, vocabulary
from finetune_trainer.model.base import load_base, sharded


def load(
    cfg: TrainConfig,
    tokenizer: PreTrainedTokenizerBase,
    *,
    device: torch.device,
    memory: Callable[[], int | None] = lambda: None,
) -> PreTrainedModel | PeftModel:
    """Load the base model and make its weights or an adapter's trainable; an adapter begins with random numbers.

    Under ZeRO-3 (transformers knows from the training arguments, which must be made before) weights are split over
    the ranks while they are loaded.

    Args:
        cfg: says which, and how it is trained.
        tokenizer: its own, to which the embeddings are fitted.
        device: where it will be trained.
        memory: tells how many bytes are free for this rank; None: unknown, and activations are spared unless it
            is said otherwise.

    Raises:
        ModelNotFound: the model or an adapter is not there.
        RunError: a key asks for what this model or this machine has not.
    """
    model = load_base(cfg, device=device)
    new_tokens = vocabulary.fit(cfg, model, tokenizer)
    kernels.apply(cfg, model)
    quantisation.prepare(cfg, model)
    generation.make_valid(model)
    model.config.use_cache = False
    trained = tuning.make_trainable(cfg, model, new_tokens=new_tokens, sharded=sharded())
    precision.settle_trainable(cfg, trained, sharded=sharded())
    activations.spare(cfg, trained, memory=memory)
    return trained
