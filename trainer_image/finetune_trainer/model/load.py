"""The model, from its folder or hub to the point where a Trainer can take it."""

from __future__ import annotations

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from finetune_trainer.config import TrainConfig
from finetune_trainer.model import activations, generation, kernels, precision, quantisation, tuning, vocabulary
from finetune_trainer.model.base import load_base, sharded


def load(cfg: TrainConfig, tokenizer: PreTrainedTokenizerBase, *, device: torch.device) -> PreTrainedModel | PeftModel:
    """Load the base model and make its weights or an adapter's trainable; an adapter begins with random numbers.

    Under ZeRO-3 (transformers knows from the training arguments, which must be made before) weights are split over
    the ranks while they are loaded.

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
    activations.spare(cfg, model)
    trained = tuning.make_trainable(cfg, model, new_tokens=new_tokens, sharded=sharded())
    precision.upcast_trainable(cfg, trained, sharded=sharded())
    return trained
