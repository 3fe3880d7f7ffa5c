"""Checkpoints that are stored quantised: what `config.json` says, and how each is loaded to train upon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import transformers
from transformers import PretrainedConfig, PreTrainedModel

from finetune_trainer.config import TrainConfig
from finetune_trainer.failures import RunError
from finetune_trainer.model.quantisation import needs

INSTEAD = "take the unquantised model with quantization_bit: 4"
NO_DORA = frozenset({"gptq", "awq", "aqlm", "eetq"})
"""peft refuses DoRA on their layers."""


def method(config: PretrainedConfig) -> str | None:
    """`quant_method` of the checkpoint's quantisation, lower case; None if it is stored in plain numbers."""
    said = _said(config)
    if not said:
        return None
    named = said.get("quant_method")
    if named is None:
        return "bitsandbytes" if said.get("load_in_4bit") or said.get("load_in_8bit") else "unknown"
    return str(getattr(named, "value", named)).lower()


def arguments(cfg: TrainConfig, stored: str, config: PretrainedConfig) -> dict[str, Any]:
    """What `from_pretrained` gets for a checkpoint stored so. FP8 and MXFP4 become plain numbers again.

    Raises:
        RunError: nothing can be trained upon it, or a package is missing, or a key does not go with it.
    """
    if cfg.model.quantization_bit is not None:
        raise RunError(f"quantization_bit: the model is stored in {stored} already; leave it out")
    if stored not in _WAYS:
        raise RunError(
            f"model_name_or_path: the model is stored in {stored}, upon which nothing can be trained here (what can: "
            f"{', '.join(sorted(_WAYS))}); {INSTEAD}"
        )
    if stored not in _PLAIN_AGAIN:
        _check(cfg, stored)
    return _WAYS[stored](_said(config))


def forget(model: PreTrainedModel) -> None:
    """A model that became plain numbers while it loaded is saved as such.

    transformers 5.23 turns the conversions of loading round when it saves, those of the quantisation too, and calls
    the plain weights scales: nothing could load the result.
    """
    conversions = getattr(model, "_weight_conversions", None) or ()
    operations = (operation for entry in conversions for operation in getattr(entry, "operations", ()))
    if any(type(operation).__name__.endswith("Dequantize") for operation in operations):
        del model._weight_conversions


def _check(cfg: TrainConfig, stored: str) -> None:
    kind, model = cfg.finetuning.finetuning_type, cfg.model
    refused = {
        "finetuning_type": kind not in ("lora", "oft"),
        "use_dora": cfg.finetuning.use_dora and stored in NO_DORA,
        "pissa_init": cfg.finetuning.pissa_init,
        "resize_vocab": model.resize_vocab,
        "create_new_adapter": cfg.finetuning.create_new_adapter and bool(model.adapter_name_or_path),
        "adapter_name_or_path": len(model.adapter_name_or_path) > 1,
    }
    wrong = [name for name, is_wrong in refused.items() if is_wrong]
    if wrong:
        raise RunError(
            f"{wrong[0]}: the model is stored in {stored}, which takes one LoRA or OFT adapter on weights that stand "
            f"still; leave {' and '.join(wrong)} out, or give the unquantised model"
        )


def _said(config: PretrainedConfig) -> dict[str, Any]:
    said = getattr(config, "quantization_config", None) or {}
    return dict(said) if isinstance(said, Mapping) else dict(said.to_dict())


def _gptq(said: Mapping[str, Any]) -> dict[str, Any]:
    """gptqmodel's plain torch kernel: others pack their weights when they evaluate and then give wrong gradients."""
    for name in ("gptqmodel", "optimum"):
        needs.package(name, "a checkpoint stored in gptq", instead=INSTEAD)
    return {"quantization_config": transformers.GPTQConfig(bits=int(said["bits"]), backend="torch")}


def _awq(said: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    needs.package("gptqmodel", "a checkpoint stored in awq", instead=INSTEAD)
    return {}


def _aqlm(said: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    needs.package("aqlm", "a checkpoint stored in aqlm", instead=INSTEAD)
    return {}


def _eetq(said: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    needs.package("kernels", "a checkpoint stored in eetq", instead=INSTEAD)
    return {}


def _bitsandbytes(said: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    needs.package("bitsandbytes", "a checkpoint stored by bitsandbytes", instead=INSTEAD)
    return {}


def _fp8(said: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    return {"quantization_config": transformers.FineGrainedFP8Config(dequantize=True)}


def _mxfp4(said: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    config: Any = getattr(transformers, "Mxfp4Config", None)
    if config is None:
        raise RunError(
            f"model_name_or_path: the model is stored in mxfp4, which transformers {transformers.__version__} cannot "
            "read; take the image with current transformers, or the model in bfloat16"
        )
    return {"quantization_config": config(dequantize=True)}


_WAYS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "gptq": _gptq,
    "awq": _awq,
    "aqlm": _aqlm,
    "eetq": _eetq,
    "bitsandbytes": _bitsandbytes,
    "fp8": _fp8,
    "mxfp4": _mxfp4,
}
_PLAIN_AGAIN = frozenset({"fp8", "mxfp4"})
"""Turned into plain numbers while they load, so that all can be done with them."""
