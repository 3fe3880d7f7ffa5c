"""LoftQ: an adapter that begins as what quantisation loses.

Alternating, Q = quantised(W - B A), then B A = the best approximation of W - Q by a matrix of the adapter's rank; so
that Q + B A is near W. The base's weights become Q, which quantising again does not change.

Source: LoftQ (arXiv:2310.08659, algorithm 1). peft 0.21's `loftq_init` computes on CUDA or XPU only, and forgets the
adapter's scale of alpha / rank, with which its B A is multiplied afterwards.
"""

from __future__ import annotations

import math

import torch
from peft import PeftModel
from peft.tuners.lora import Linear
from torch import nn

from finetune_trainer.failures import RunError


def begin(model: PeftModel, *, bits: int, iterations: int, adapter: str = "default") -> None:
    """Set the adapter's first weights and the base's, in place.

    Raises:
        RunError: bits other than 4 and 8, or no iteration.
    """
    if bits not in (4, 8) or iterations < 1:
        raise RunError(f"LoftQ: expected 4 or 8 bits and 1 or more iterations, got {bits} and {iterations}")
    for layer in model.modules():
        if not isinstance(layer, Linear) or adapter not in layer.lora_A:
            continue
        weight = layer.get_base_layer().weight
        assert isinstance(weight, nn.Parameter)
        kept, low_a, low_b = decompose(weight.data, rank=layer.r[adapter], bits=bits, iterations=iterations)
        scale = math.sqrt(layer.scaling[adapter])
        weight.data = kept.to(weight.dtype)
        _set(layer.lora_A[adapter], low_a / scale)
        _set(layer.lora_B[adapter], low_b / scale)


def decompose(
    weight: torch.Tensor, *, rank: int, bits: int, iterations: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Q [out, in], A [rank, in] and B [out, rank] in float32, with Q + B A near the weight."""
    whole = weight.to(torch.float32)
    low_a, low_b = torch.zeros(rank, whole.shape[1]), torch.zeros(whole.shape[0], rank)
    kept = whole
    for _ in range(iterations):
        kept = quantised(whole - low_b @ low_a, bits)
        left, values, right = torch.linalg.svd(whole - kept, full_matrices=False)
        root = values[:rank].sqrt()
        low_a, low_b = root[:, None] * right[:rank], left[:, :rank] * root
    return kept, low_a, low_b


def _set(matrix: nn.Module, values: torch.Tensor) -> None:
    assert isinstance(matrix, nn.Linear)
    matrix.weight.data = values.to(matrix.weight.dtype)


def quantised(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """What is left of a float32 weight [out, in] after bitsandbytes has quantised it: nf4, or int8 by rows.

    In one row: on a CPU, bitsandbytes 0.50.2 mixes up the blocks of a matrix whose width is no multiple of 64.
    """
    from bitsandbytes import functional

    if bits == 4:
        packed, state = functional.quantize_4bit(weight.reshape(1, -1), quant_type="nf4")
        return functional.dequantize_4bit(packed, state).to(torch.float32).view_as(weight)
    largest = weight.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return (weight / largest * 127).round() * largest / 127
