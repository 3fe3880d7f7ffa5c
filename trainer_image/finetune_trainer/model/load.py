"""The model, from its folder or hub to the point where a Trainer can take it."""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from finetune_trainer.config import TrainConfig
from finetune_trainer.model import activations, adapter, kernels, precision, quantisation, vocabulary
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
    vocabulary.fit(cfg, model, tokenizer)
    kernels.apply(cfg, model)
    quantisation.prepare(cfg, model)
    _make_generation_valid(model)
    model.config.use_cache = False
    activations.spare(cfg, model)
    trained = adapter.make_trainable(cfg, model)
    precision.upcast_trainable(cfg, trained, sharded=sharded())
    return trained


def _make_generation_valid(model: PreTrainedModel) -> None:
    """Some models ship sampling settings without do_sample; transformers would refuse to save them."""
    generation = getattr(model, "generation_config", None)
    if generation is not None and not generation.do_sample and _samples(generation):
        generation.do_sample = True


def _samples(generation: Any) -> bool:  # noqa: ANN401 - GenerationConfig, untyped
    unset = (None, 1.0)
    return any(getattr(generation, name, None) not in unset for name in ("temperature", "top_p", "typical_p"))
