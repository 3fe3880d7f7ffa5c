"""Tuning: which weights move, one file for each way: all of them, some layers, or an adapter's.

Law: turns gradients on and off and puts adapters in; loads no base model, draws nothing but an adapter's first
weights. Sources: LLaMA-Factory model/adapter.py, model/model_utils/misc.py.
"""

from __future__ import annotations

from peft import PeftModel
from transformers import PreTrainedModel

from finetune_trainer.config import TrainConfig
from finetune_trainer.model.tuning import adapters, frozen

__all__ = ["make_trainable"]


def make_trainable(
    cfg: TrainConfig, model: PreTrainedModel, *, new_tokens: bool = False, sharded: bool = False
) -> PreTrainedModel | PeftModel:
    """The model with exactly the weights trainable that finetuning_type says.

    Args:
        cfg: the keys.
        model: the base, all of whose weights want gradients.
        new_tokens: it has embeddings for tokens that it did not know, which must be learned and saved.
        sharded: its weights are split over the ranks (ZeRO-3).

    Raises:
        RunError: a key names what this model has not, or what cannot be done with it.
        ModelNotFound: an adapter is not there.
    """
    match cfg.finetuning.finetuning_type:
        case "full":
            return model
        case "freeze":
            frozen.freeze(cfg.finetuning, model)
            return model
        case _:
            return adapters.attach(cfg, model, new_tokens=new_tokens, sharded=sharded)
