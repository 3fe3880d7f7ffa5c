"""An adapter that a training may have left, and what a model answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from finetune_trainer import config, model

IDS = torch.arange(24)[None]


def cfg(tiny: Path | str, **keys: Any) -> config.TrainConfig:
    return config.parse({"do_train": True, "model_name_or_path": str(tiny), "template": "llama3", **keys})


def adapter(tiny: Path, folder: Path, **keys: Any) -> torch.nn.Module:
    """Save an adapter that changes the answers, with its tokenizer, as a run does."""
    found = cfg(tiny, use_cpu=True, **keys)
    tokenizer = model.load_tokenizer(found)
    adapted: Any = model.load(found, tokenizer, device=torch.device("cpu"))
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight.add_(0.05 * torch.randn(weight.shape, generator=draw))
    adapted.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return adapted  # type: ignore[no-any-return]


def answers(folder: Path | torch.nn.Module) -> torch.Tensor:
    lm: Any = folder
    if isinstance(folder, Path):
        lm = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return lm.eval()(IDS).logits  # type: ignore[no-any-return]
