"""EETQ: 8-bit integers made while the model loads, by kernels that only GPUs have."""

from __future__ import annotations

from typing import Any

import torch

from finetune_trainer.model.quantisation import needs

INSTEAD = "write quantization_method: bnb for eight bits without it"
PACKAGE = "kernels"
"""transformers fetches EETQ's kernels through it."""


def arguments(device: torch.device) -> dict[str, Any]:
    """`quantization_config` for `from_pretrained`, and the device to quantise on.

    Raises:
        RunError: there is no GPU, or the package is not installed.
    """
    needs.gpu(device, "quantization_method: eetq", instead=INSTEAD)
    needs.package(PACKAGE, "quantization_method: eetq", instead=INSTEAD)
    from transformers import EetqConfig

    return {"quantization_config": EetqConfig("int8"), "device_map": {"": device}}
