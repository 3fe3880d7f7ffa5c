"""`finetune export`: adapters merged into their base, or a model in another form, with all that belongs to it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from finetune_trainer import template
from finetune_trainer.config import TrainConfig
from finetune_trainer.export import files, gptq, modelfile
from finetune_trainer.failures import RunError
from finetune_trainer.model import generation, vocabulary
from finetune_trainer.model.base import load_base
from finetune_trainer.model.sources import hub_arguments, named
from finetune_trainer.model.tokenizer import load_tokenizer
from finetune_trainer.model.tuning import adapters
from finetune_trainer.template.chosen import chosen

_VALUE_HEADS = ("value_head.safetensors", "value_head.bin")


def export(cfg: TrainConfig) -> Path:
    """Write model, tokenizer, chat template and Ollama's Modelfile to export_dir; returns that folder.

    Raises:
        RunError: a key names what the model has not, or what cannot be done here.
        ModelNotFound: the model or an adapter is not there.
    """
    folder = _folder(cfg)
    tokenizer_cfg = _with_trained_tokenizer(cfg)
    tokenizer = load_tokenizer(tokenizer_cfg)
    fits, _ = chosen(cfg.data, tokenizer)
    template.fix_tokenizer(tokenizer, fits)  # sets the template's chat template where the model has none
    grown = tokenizer_cfg is not cfg
    if cfg.model.export_quantization_bit is None:
        model = merged(cfg, tokenizer, grown=grown)
    else:
        model = gptq.quantised(cfg, tokenizer)
    generation.make_valid(model)
    files.save(model, folder, size=cfg.model.export_size, legacy=cfg.model.export_legacy_format)
    _copy_value_head(cfg, folder)
    tokenizer.padding_side = "left"  # who loads the result generates; in batches the texts must end together
    tokenizer.save_pretrained(str(folder))
    (folder / modelfile.NAME).write_text(modelfile.write(fits, tokenizer), encoding="utf-8")
    if cfg.model.export_hub_model_id:
        files.push(folder, cfg.model.export_hub_model_id)
    return folder


def merged(cfg: TrainConfig, tokenizer: PreTrainedTokenizerBase, *, grown: bool = False) -> PreTrainedModel:
    """The base with all adapters merged, in the type that infer_dtype says: auto is the base's own.

    Args:
        cfg: the keys.
        tokenizer: of the last adapter's training.
        grown: it may have more tokens than the base has embeddings: the adapter brings theirs.
    """
    stored = _stored_dtype(cfg)
    device = torch.device("cuda" if cfg.model.export_device == "auto" and torch.cuda.is_available() else "cpu")
    model = load_base(_loaded_as(cfg, stored), device=device)
    _check_whole(cfg, model)
    if len(tokenizer) > (model.config.get_text_config().vocab_size or 0) and grown:
        cfg = _changed(cfg, resize_vocab=True)
    vocabulary.fit(cfg, model, tokenizer)
    for adapter in cfg.model.adapter_name_or_path:
        model = adapters.merge(model, adapter, cfg.model)
    if getattr(model, "quantization_method", None) is not None:
        return model
    wanted = stored if cfg.model.infer_dtype == "auto" else getattr(torch, cfg.model.infer_dtype)
    turned: PreTrainedModel = model.to(wanted)  # type: ignore[arg-type] # transformers' own `to`
    return turned


def _folder(cfg: TrainConfig) -> Path:
    if not cfg.model.export_dir:
        raise RunError("export_dir: missing; the folder for the exported model")
    folder = Path(cfg.model.export_dir)
    for source in (cfg.model.model_name_or_path, *cfg.model.adapter_name_or_path):
        if source and folder.resolve() == Path(source).resolve():
            raise RunError(f"export_dir: {folder} holds what is exported; write to another folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _with_trained_tokenizer(cfg: TrainConfig) -> TrainConfig:
    """Training saves its tokenizer, with new tokens and the trained chat template, beside the adapter."""
    last = cfg.model.adapter_name_or_path[-1:]
    if not last or cfg.model.adapter_folder or not (Path(last[0]) / "tokenizer_config.json").exists():
        return cfg
    return _changed(cfg, model_name_or_path=last[0])


def _stored_dtype(cfg: TrainConfig) -> torch.dtype:
    with named(cfg.model.model_name_or_path, "model_name_or_path") as source:
        config = AutoConfig.from_pretrained(source, **hub_arguments(cfg.model))
    found: Any = getattr(config, "dtype", None) or getattr(config, "torch_dtype", None)
    return found if isinstance(found, torch.dtype) else torch.float32


def _loaded_as(cfg: TrainConfig, dtype: torch.dtype) -> TrainConfig:
    """The same, asking for the base in this type also on a CPU."""
    said = {"bf16": dtype is torch.bfloat16, "fp16": dtype is torch.float16}
    return cfg.model_copy(update={"training": cfg.training.model_copy(update=said)})


def _changed(cfg: TrainConfig, **keys: object) -> TrainConfig:
    return cfg.model_copy(update={"model": cfg.model.model_copy(update=keys)})


def _check_whole(cfg: TrainConfig, model: PreTrainedModel) -> None:
    if cfg.model.adapter_name_or_path and getattr(model, "quantization_method", None) is not None:
        raise RunError(
            f"model_name_or_path: {cfg.model.model_name_or_path} is quantised, and adapters cannot be merged into "
            "such weights; name the unquantised model, and quantise the merged one"
        )


def _copy_value_head(cfg: TrainConfig, folder: Path) -> None:
    """A reward model's head, which lies beside the last adapter or in the model's folder."""
    if cfg.finetuning.stage != "rm":
        return
    source = Path([cfg.model.model_name_or_path or "", *cfg.model.adapter_name_or_path][-1])
    found = [source / name for name in _VALUE_HEADS if (source / name).exists()]
    if not found:
        raise RunError(f"stage: rm, but {source} holds no {_VALUE_HEADS[0]}; leave stage out for a language model")
    shutil.copyfile(found[0], folder / found[0].name)
