"""HQQ: one to eight bits found by optimisation, without data. hqq does it itself: transformers 5 no longer can.

`HqqConfig` raises NotImplementedError in transformers 5.23, so the model is loaded whole and quantised in place.
"""

from __future__ import annotations

import io
from contextlib import redirect_stderr

from torch import nn
from transformers import PreTrainedModel

from finetune_trainer.failures import RunError
from finetune_trainer.model.quantisation import needs

GROUP = 64
"""Weights that share a scale; every weight's number of elements must be a multiple."""


def check() -> None:
    """Raises RunError if hqq is not installed."""
    needs.package("hqq", "quantization_method: hqq", instead="write quantization_method: bnb, or install it")


def quantise(model: PreTrainedModel, bits: int) -> None:
    """Replace every linear layer but the output layer, on the device where the model is.

    Scales and zero points stay unquantised and run along axis 0, as LLaMA-Factory has it.

    Raises:
        RunError: a layer is no multiple of the group, or hqq does not know these bits.
    """
    from hqq.core.quantize import BaseQuantizeConfig  # type: ignore[import-untyped]
    from hqq.models.hf.base import AutoHQQHFModel  # type: ignore[import-untyped]

    plain = dict(model.named_modules())
    chosen = BaseQuantizeConfig(nbits=bits, group_size=GROUP, axis=0)
    try:
        with redirect_stderr(io.StringIO()):  # progress bars
            AutoHQQHFModel.quantize_model(
                model, quant_config=chosen, compute_dtype=model.dtype, device=str(model.device)
            )
    except AssertionError as error:
        raise RunError(f"quantization_method: hqq cannot quantise this model to {bits} bits: {error}") from error
    if not is_quantised(model):
        raise RunError(
            f"quantization_method: hqq found no layer to quantise among {len(plain)}; write quantization_method: bnb"
        )


def is_quantised(model: nn.Module) -> bool:
    """Whether `quantise` has been here."""
    return any(type(module).__name__ == "HQQLinear" for module in model.modules())
