"""bitsandbytes: 8-bit integers, or 4-bit nf4 and fp4, made while the model loads (QLoRA)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig, PretrainedConfig
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from finetune_trainer.config import TrainConfig
from finetune_trainer.model import precision
from finetune_trainer.model.quantisation.needs import package


def arguments(cfg: TrainConfig, config: PretrainedConfig, device: torch.device) -> dict[str, Any]:
    """`quantization_config`, and on which device to quantise.

    The 4-bit weights are stored in the type that is computed in, so that FSDP can flatten them together with the
    others (LLaMA-Factory's model_utils/quantization.py; Answer.AI's "fsdp_qlora").

    Raises:
        RunError: bitsandbytes is not installed.
    """
    package("bitsandbytes", "quantization_method: bnb")
    model = cfg.model
    compute = precision.weights_dtype(cfg, precision.stored_dtype(config))
    if model.quantization_bit == 8:
        chosen = BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
    else:
        chosen = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_compute_dtype=compute,
            bnb_4bit_use_double_quant=model.double_quantization,
            bnb_4bit_quant_type=model.quantization_type,
            bnb_4bit_quant_storage=compute,
        )
    placed = {} if is_deepspeed_zero3_enabled() else {"device_map": {"": device}}  # type: ignore[no-untyped-call]
    return {"quantization_config": chosen, **placed}


def forbid_packing(model: nn.Module) -> None:
    """Keep 4-bit layers from packing their weights for fast inference on CPUs with avx512_bf16.

    The first evaluation or generation would pack them; the backward pass knows nothing of packed weights and
    gives wrong gradients ever after (seen in bitsandbytes 0.50.2; a test shows when that is over).
    """
    for module in model.modules():
        if type(module).__name__ == "Linear4bit" and hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
