"""New adapters: LLaMA-Factory's keys as peft's configuration, and their first weights."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, OFTConfig, PeftModel, TaskType, get_peft_model
from transformers import PreTrainedModel

from finetune_trainer.config import TrainConfig
from finetune_trainer.config.finetuning import FinetuningGroup
from finetune_trainer.failures import RunError
from finetune_trainer.model.tuning import targets


def begin(cfg: TrainConfig, model: PreTrainedModel, *, new_tokens: bool) -> PeftModel:
    """Put a fresh adapter in. Its random numbers follow from the caller's seed, the same on all ranks.

    Raises:
        RunError: a key names a module that the model has not, or that cannot have such an adapter.
    """
    config = adapter_config(cfg.finetuning, model, new_tokens=new_tokens)
    _check_quantised(cfg.finetuning, model)
    try:
        if not cfg.finetuning.pissa_init:
            return get_peft_model(model, config)
        with torch.random.fork_rng():
            # What PiSSA draws decides about the base's weights, which are not saved: it must not depend on the rest.
            torch.manual_seed(cfg.training.seed)
            return get_peft_model(model, config)
    except ValueError as error:
        raise RunError(f"{_target_key(cfg.finetuning)}: {error}") from error


def adapter_config(
    finetuning: FinetuningGroup, model: PreTrainedModel, *, new_tokens: bool = False
) -> LoraConfig | OFTConfig:
    """peft's configuration; lora_alpha is twice the rank unless said.

    Where LLaMA-Factory lets OFT go by lora_target, oft_target has its effect here.
    """
    key = _target_key(finetuning)
    chosen = targets.targets(model, getattr(finetuning, key), key=key)
    if finetuning.use_llama_pro:
        chosen = targets.of_expanded(model, chosen, finetuning.freeze_trainable_layers)
    shared: dict[str, Any] = {
        "task_type": TaskType.CAUSAL_LM,
        "target_modules": chosen,
        "modules_to_save": _saved_beside(finetuning, model, new_tokens=new_tokens) or None,
    }
    return _oft(finetuning, shared) if finetuning.finetuning_type == "oft" else _lora(finetuning, shared)


def _lora(finetuning: FinetuningGroup, shared: dict[str, Any]) -> LoraConfig:
    steps = finetuning.pissa_iter
    first: Any = ("pissa" if steps == -1 else f"pissa_niter_{steps}") if finetuning.pissa_init else True
    return LoraConfig(
        **shared,
        r=finetuning.lora_rank,
        lora_alpha=finetuning.lora_alpha or 2 * finetuning.lora_rank,
        lora_dropout=finetuning.lora_dropout,
        use_rslora=finetuning.use_rslora,
        use_dora=finetuning.use_dora,
        init_lora_weights=first,
    )


def _oft(finetuning: FinetuningGroup, shared: dict[str, Any]) -> OFTConfig:
    return OFTConfig(
        **shared,
        r=finetuning.oft_rank,
        oft_block_size=0 if finetuning.oft_rank else finetuning.oft_block_size,
    )


def _saved_beside(finetuning: FinetuningGroup, model: PreTrainedModel, *, new_tokens: bool) -> list[str]:
    """additional_target; and the embeddings if some are new: without them the adapter could not be loaded again.

    Tied embeddings become two matrices here, as in LLaMA-Factory; the merged model's configuration says so.
    """
    wanted = [*finetuning.additional_target]
    outside = {name.rpartition(".")[2] for name, module in model.named_modules() if not any(module.children())}
    targets.check(model, wanted, key="additional_target", known=outside)
    return sorted({*wanted, *(targets.embeddings(model) if new_tokens else ())})


def _check_quantised(finetuning: FinetuningGroup, model: PreTrainedModel) -> None:
    method = getattr(model, "quantization_method", None)
    if method is None:
        return
    if finetuning.pissa_init:
        raise RunError(
            "pissa_init: not on quantised weights, which it would have to change; write adapter and base with "
            "`finetune init-adapter --kind pissa` first, and train those"
        )
    if finetuning.use_dora and "bitsandbytes" not in str(getattr(method, "value", method)):
        raise RunError(f"use_dora: not on weights quantised by {getattr(method, 'value', method)}; leave it out")


def _target_key(finetuning: FinetuningGroup) -> str:
    return "oft_target" if finetuning.finetuning_type == "oft" else "lora_target"
