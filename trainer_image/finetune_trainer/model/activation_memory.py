"""How much memory a step's activations take, measured on short rows, and whether there is room to keep them all."""

from __future__ import annotations

import math
from typing import Any

import torch

from finetune_trainer.config import TrainConfig, checkpointing

SHORT, LONG = 16, 32
"""Tokens of the rows that are tried."""
LINEAR = ("sdpa", "flash_attention_2", "flash_attention_3")
"""Kinds of attention whose memory grows with a row's length, not with its square."""


def fit(cfg: TrainConfig, model: Any, memory: int) -> bool:  # noqa: ANN401 - PreTrainedModel or PeftModel
    """Whether the largest micro batch that there can be leaves all activations in memory.

    Args:
        cfg: of stages pt and sft: micro batches of at most cutoff_len tokens a row.
        model: as it will be trained, on its device, without gradient checkpointing.
        memory: bytes that are free for all that is not there yet.
    """
    if model.config._attn_implementation not in LINEAR:
        return False
    trained: int = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    once, each = needs(cfg, model)
    return checkpointing.has_room(cfg, once=once, each=each, trained=trained, free=memory)


def needs(cfg: TrainConfig, model: Any) -> tuple[float, float]:  # noqa: ANN401 - PreTrainedModel or PeftModel
    """Bytes that a forward pass in training keeps for the backward pass: once, and for each token.

    Weights do not count, but what mixed precision makes of them does: that is kept once.
    """
    short, long = (_kept(cfg, model, length) for length in (SHORT, LONG))
    each = (long - short) / (LONG - SHORT)
    return max(0.0, short - each * SHORT), each


def _kept(cfg: TrainConfig, model: Any, length: int) -> float:  # noqa: ANN401 - PreTrainedModel or PeftModel
    """Bytes of one row; infinite where the model tells no loss."""
    kept: dict[int, int] = {}
    weights = {weight.untyped_storage().data_ptr() for weight in (*model.parameters(), *model.buffers())}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    device, was_training = next(model.parameters()).device, model.training
    mixed = torch.bfloat16 if cfg.training.bf16 else torch.float16 if cfg.training.fp16 else None
    ids = (torch.arange(length, device=device) % model.config.get_text_config().vocab_size)[None]
    model.train()
    with (
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        torch.autocast(device.type, dtype=mixed, enabled=mixed is not None),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        outputs = model(input_ids=ids, labels=ids)
    model.train(was_training)
    return sum(kept.values()) if outputs.loss is not None else math.inf
