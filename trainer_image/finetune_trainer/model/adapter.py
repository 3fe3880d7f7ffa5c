"""Which weights are trained: all of them, or a LoRA adapter's."""

from __future__ import annotations

from collections.abc import Sequence

from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from finetune_trainer.config import TrainConfig
from finetune_trainer.config.finetuning import FinetuningGroup
from finetune_trainer.failures import RunError
from finetune_trainer.model.sources import named

OUTPUT_LAYERS = frozenset({"lm_head", "output_layer", "embed_out", "output"})
"""What models call their last layer, which `lora_target: all` leaves out."""


def make_trainable(cfg: TrainConfig, model: PreTrainedModel) -> PreTrainedModel | PeftModel:
    """The model with exactly the weights trainable that finetuning_type says.

    Raises:
        RunError: lora_target names no layer of this model.
        ModelNotFound: adapter_name_or_path is not there.
    """
    if cfg.finetuning.finetuning_type == "full":
        return model
    *merged, last = cfg.model.adapter_name_or_path or (None,)
    for adapter in merged:
        with named(adapter, "adapter_name_or_path") as source:
            model = PeftModel.from_pretrained(model, source).merge_and_unload()
    if last is not None:
        with named(last, "adapter_name_or_path") as source:
            return PeftModel.from_pretrained(model, source, is_trainable=True)
    return get_peft_model(model, lora_config(cfg.finetuning, model))


def lora_config(finetuning: FinetuningGroup, model: nn.Module) -> LoraConfig:
    """LLaMA-Factory's keys as peft's configuration; lora_alpha is twice the rank unless said."""
    return LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=finetuning.lora_rank,
        lora_alpha=finetuning.lora_alpha or 2 * finetuning.lora_rank,
        lora_dropout=finetuning.lora_dropout,
        target_modules=targets(model, finetuning.lora_target),
        modules_to_save=list(finetuning.additional_target) or None,
        use_rslora=finetuning.use_rslora,
        use_dora=finetuning.use_dora,
    )


def targets(model: nn.Module, wanted: Sequence[str]) -> list[str]:
    """The module names that get an adapter; `all` means every linear layer but the output layer.

    Raises:
        RunError: the model has no module of a wanted name.
    """
    linear = {name.rpartition(".")[2] for name, module in model.named_modules() if _is_linear(module)} - OUTPUT_LAYERS
    if "all" in wanted:
        return sorted(linear)
    present = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    absent = [name for name in wanted if name.rpartition(".")[2] not in present]
    if absent:
        raise RunError(f"lora_target: this model has no {', '.join(absent)}; it has {', '.join(sorted(linear))}")
    return sorted(wanted)


def _is_linear(module: nn.Module) -> bool:
    """Quantised layers are no nn.Linear, but all carry it in their name."""
    name = type(module).__name__
    return "Linear" in name and "Embedding" not in name
